"""What the models of each recipe rely on: accuracy on the counterfactual sets (MMC Table 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field

from basins.figures import rows, style


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    diagnostic: str,
    recipes: Annotated[list[str], Field(min_length=1)] | None = None,
    chance: Annotated[float, Field(ge=0, le=1)] | None = None,
) -> Figure:
    """Draw accuracy (%) by slice and recipe: a dot per seed, and the mean with its 95 % interval.

    Reads `probes` and `summary/probes`. `recipes` are those that are drawn, in their order; by
    default all. `chance` is the accuracy of guessing, a share; marked if given. A model that uses
    the image alone has high accuracy on NC, C and RC and guesses on RI; one that uses the cue alone
    has high accuracy on C and RI (MMC section 3).

    Raises `UserError` if the tables have no such rows.
    """
    chosen = {"diagnostic": diagnostic, "metric": "accuracy", "recipe": recipes}
    seeds = rows.select(tables, "probes", **chosen)
    means = rows.select(tables, "summary/probes", **chosen)
    slices = style.ordered_sets(means["slice"])
    recipes = list(dict.fromkeys(means["recipe"]))
    places = {recipe: k for k, recipe in enumerate(recipes)}
    figure = style.new(style.PAGE_WIDTH, 0.75 + 0.24 * len(recipes))
    panels = figure.subplots(1, len(slices), sharex=True, sharey=True, squeeze=False)[0]
    for slice_, ax in zip(slices, panels, strict=True):
        dots, mean = (table.loc[table["slice"] == slice_] for table in (seeds, means))
        ax.plot(
            dots["value"],
            dots["recipe"].map(places) + 0.18,
            linestyle="",
            marker="o",
            markersize=2.8,
            color="C0",
            alpha=0.55,
            label="seeds",
        )
        ax.errorbar(
            mean["mean"],
            mean["recipe"].map(places) - 0.12,
            xerr=(mean["mean"] - mean["ci_low"], mean["ci_high"] - mean["mean"]),
            linestyle="",
            marker="|",
            markersize=7,
            markeredgewidth=1.5,
            color="#222222",
            elinewidth=1.1,
            label="mean",
        )
        if chance is not None:
            ax.axvline(chance, **style.CHANCE, zorder=1, label="guessing")
        ax.set_title(style.set_title(slice_))
        ax.set_xlim(-0.03, 1.03)  # intervals of few seeds may exceed it
        ax.tick_params(axis="y", length=0)
        style.in_percent(ax.xaxis)
    panels[0].set_yticks(range(len(recipes)), [style.display(recipe) for recipe in recipes])
    panels[0].set_ylim(len(recipes) - 0.5, -0.5)
    figure.supxlabel(style.quantity("accuracy"), fontsize=7.5)
    return figure


def title(
    tables: Mapping[str, pd.DataFrame],
    *,
    diagnostic: str,
    recipes: Sequence[str] | None = None,
    **_: object,
) -> str:
    """State which models rely on the cue most and least, by RI or the last slice."""
    chosen = {"diagnostic": diagnostic, "metric": "accuracy", "recipe": recipes}
    means = rows.select(tables, "summary/probes", **chosen)
    last = style.ordered_sets(means["slice"])[-1]
    found = means.loc[means["slice"] == last].sort_values("mean", kind="stable")
    low, high = (
        f"{style.percent(row['mean'])} ({style.display(str(row['recipe']))})"
        for row in (found.iloc[0], found.iloc[-1])
    )
    return f"Accuracy on {style.on(last)} ranges from {low} to {high}"


def caption(*, chance: float | None = None, **_: object) -> str:
    """Describe what `draw` shows with the same options."""
    return (
        "Accuracy on the four test sets, a row for each kind of model. Dots: single seeds; bars: "
        "their mean with its 95 % interval over seeds. High accuracy on RI, random images with "
        "the label's cue, means that a model relies on the cue. BatchNorm as trained."
        f"{style.guessing(chance)} After MMC, Table 1."
    )
