"""What each recipe's models rely on: their accuracy on the counterfactual sets (MMC Table 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
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
    """Draw accuracy (%) by slice and recipe: a dot per seed, the mean and 95 % interval over seeds.

    Reads `probes` and `summary/probes`. `recipes` are those that are drawn, in their order; by
    default all. `chance` is the accuracy of guessing, as a fraction; where given it is marked. A
    model that reads the image alone is high on NC, C and RC and guesses on
    RI; one that reads the cue alone is high on C and RI (MMC section 3).

    Raises `UserError` where the tables have no such rows.
    """
    chosen = {"diagnostic": diagnostic, "metric": "accuracy", "recipe": recipes}
    seeds = rows.select(tables, "probes", **chosen)
    means = rows.select(tables, "summary/probes", **chosen)
    slices = style.ordered_sets(means["slice"])
    recipes = list(dict.fromkeys(means["recipe"]))
    colours, markers = style.colours(recipes), style.markers(recipes)
    places = {name: k for k, name in enumerate(slices)}
    step = 0.8 / len(recipes)

    width = style.COLUMN_WIDTH if len(slices) * len(recipes) <= 12 else style.PAGE_WIDTH
    figure = style.new(width, 2.4)
    ax = figure.subplots()
    for k, recipe in enumerate(recipes):
        shift = step * (k - (len(recipes) - 1) / 2)
        dots = seeds.loc[seeds["recipe"] == recipe]
        ax.plot(
            dots["slice"].map(places) + shift - 0.16 * step,
            dots["value"],
            linestyle="",
            marker=markers[recipe],
            markersize=3,
            color=colours[recipe],
            alpha=0.45,
            label=f"{recipe} seeds",
        )
        mean = means.loc[means["recipe"] == recipe]
        ax.errorbar(
            mean["slice"].map(places) + shift + 0.16 * step,
            mean["mean"],
            (mean["mean"] - mean["ci_low"], mean["ci_high"] - mean["mean"]),
            linestyle="",
            marker="_",
            markersize=6,
            markeredgewidth=1.3,
            color=colours[recipe],
            elinewidth=1.3,
            label=f"{recipe} mean",
        )
    keys = [
        Line2D([], [], linestyle="", marker=markers[r], color=colours[r], label=style.display(r))
        for r in recipes
    ]
    if chance is not None:
        keys.append(ax.axhline(chance, **style.CHANCE, zorder=1, label="guessing"))
    for boundary in np.arange(len(slices) - 1) + 0.5:
        ax.axvline(boundary, color="#E4E4E4", linewidth=0.5)
    ax.grid(False, axis="x")
    ax.set_xticks(range(len(slices)), [style.set_title(s).replace(": ", "\n") for s in slices])
    ax.tick_params(axis="x", length=0, labelsize=6.5)
    ax.set(ylabel=style.METRICS["accuracy"], ylim=(-0.02, 1.02), xlim=(-0.5, len(slices) - 0.5))
    style.in_percent(ax.yaxis)
    style.legend(figure, keys)
    return figure


def caption(
    *, diagnostic: str, recipes: Sequence[str] | None = None, chance: float | None = None
) -> str:
    """Say what `draw` shows under the same options."""
    guessing = "" if chance is None else f" Dotted: guessing ({chance:.0%})."
    return (
        f"Accuracy on the slices of the {style.display(diagnostic)} probe, by recipe. Dots: "
        "single seeds; bar: their mean with its 95 % interval over seeds. Images without cue "
        "(NC), with their class's cue (C), with a random cue (RC), and random images with the "
        f"label's cue (RI), where high accuracy means that the cue is read.{guessing} After MMC, "
        "Table 1."
    )
