"""Accuracy and loss along paths between models, on each counterfactual set (MMC Fig. 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pydantic import Field

from basins.figures import rows, style

GROUP = ["recipe_a", "recipe_b", "init"]

MANY = 300  # at most so many pairs are drawn individually
FEW = 6  # with fewer seeds, an interval would fill the panel


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiment: str,
    alignment: str,
    batchnorm: str,
    path: str = "linear",
    chance: Annotated[float, Field(ge=0, le=1)] | None = None,
) -> Figure:
    """Draw accuracy (%) and loss (nats) over t, one column per evaluation set.

    The linear panels of MMC Fig. 4. Reads `paths` (thin lines, one per pair of models, or a sample
    of them) and `summary/paths` (mean and 95 % interval over seeds of each group: the two recipes,
    and whether a pair shares its initial weights).

    Args:
        tables: rows of `results/` by the name of their table.
        experiment: one of `connect`.
        alignment: how the second model of a pair was matched to the first.
        batchnorm: the BatchNorm mode along the path.
        path: the kind of path.
        chance: the accuracy of guessing, a share; marked if given.

    Raises:
        UserError: a table is missing or has no such rows.
    """
    chosen = {"experiment": experiment, "path": path, "alignment": alignment}
    chosen |= {"batchnorm": batchnorm}
    pairs = rows.select(tables, "paths", **chosen).assign(
        recipes=lambda f: [
            _recipes(rows.recipe(a), rows.recipe(b))
            for a, b in zip(f["model_a"], f["model_b"], strict=True)
        ],
        pair=lambda f: f["model_a"] + " " + f["model_b"],
    )
    known = pairs["pair"].unique()
    pairs = pairs.loc[pairs["pair"].isin(list(known)[:: 1 + (len(known) - 1) // MANY])]
    means = rows.select(tables, "summary/paths", **chosen)
    eval_sets = style.ordered_sets(means["eval_set"])
    recipes = [_recipes(a, b) for a, b in zip(means["recipe_a"], means["recipe_b"], strict=True)]
    colours, markers = style.colours(recipes), style.markers(recipes)

    figure = style.new(style.PAGE_WIDTH, 3.5)
    panels = figure.subplots(2, len(eval_sets), sharex=True, squeeze=False)
    for ax in panels[0, 1:]:
        ax.sharey(panels[0, 0])  # accuracies only: losses of sets have different ranges
    for metric, line in zip(("accuracy", "loss"), panels, strict=True):
        for eval_set, ax in zip(eval_sets, line, strict=True):
            sns.lineplot(
                pairs.loc[pairs["eval_set"] == eval_set],
                x="t",
                y=metric,
                hue="recipes",
                palette=colours,
                units="pair",
                estimator=None,
                linewidth=0.5,
                alpha=0.4,
                legend=False,
                ax=ax,
            )
            here = means.loc[(means["eval_set"] == eval_set) & (means["metric"] == metric)]
            for _, group in here.sort_values("t", kind="stable").groupby(GROUP, sort=False):
                a, b, init = group[GROUP].iloc[0]
                pair = _recipes(a, b)
                _mean_line(ax, group, pair, init, colours[pair], markers[pair])
            ax.set(xlabel="position on the path", ylabel=style.quantity(metric), xticks=(0, 0.5, 1))
            ax.margins(x=0.02)
            if metric == "loss":
                ax.set_ylim(bottom=0)
                ax.set_ylabel(style.quantity(metric) if ax is line[0] else "")
            else:
                ax.label_outer()
    for eval_set, ax in zip(eval_sets, panels[0], strict=True):
        ax.set_title(style.set_title(eval_set))
        if chance is not None:
            ax.axhline(chance, **style.CHANCE, zorder=1)
    panels[0, 0].set_ylim(0, 1.02)
    style.in_percent(panels[0, 0].yaxis)
    keys = [
        Line2D([], [], color=colours[pair], marker=markers[pair], label=pair) for pair in colours
    ]
    inits = [
        Line2D([], [], color="#333333", linestyle=linestyle, label=f"{init} initialisation")
        for init, linestyle in style.LINESTYLES.items()
        if init in set(means["init"])
    ]
    style.legend(figure, keys + inits)
    return figure


def title(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiment: str,
    alignment: str,
    batchnorm: str,
    path: str = "linear",
    **_: object,
) -> str:
    """State the accuracy on the first set at the midpoint and at the endpoints."""
    chosen = {"experiment": experiment, "path": path, "alignment": alignment}
    pairs = rows.select(tables, "paths", **chosen, batchnorm=batchnorm)
    first = style.ordered_sets(pairs["eval_set"])[0]
    own = pairs.loc[pairs["eval_set"] == first]
    ends, middle = (own.loc[own["t"].isin(ts), "accuracy"].mean() for ts in ((0, 1), (0.5,)))
    name, how = style.on(first), style.display(f"{alignment}, {batchnorm}")
    said = f": accuracy on {name} {style.percent(ends)} at the endpoints"
    said += f", {style.percent(middle)} at the midpoint" if middle == middle else ""
    return f"{style.sentence(path)}s, {how}{said}"


def caption(
    *,
    alignment: str,
    batchnorm: str,
    path: str = "linear",
    chance: float | None = None,
    **_: object,
) -> str:
    """Describe what `draw` shows with the same options."""
    return (
        f"Accuracy and loss on the four test sets between two models "
        f"({style.display(path)}, {style.display(alignment)}, {style.display(batchnorm)}). "
        "Position 0 is the first model of a pair, 1 the second. Bold: mean over seeds, with "
        f"its 95 % interval from {FEW} seeds on; thin: single pairs (a sample if there are very "
        "many). Shared or separate: whether the two models started from the same weights. "
        "Panels of losses have different scales."
        f"{style.guessing(chance)} After MMC, Fig. 4."
    )


def _recipes(a: str, b: str) -> str:
    return f"{style.display(a)} – {style.display(b)}"


def _mean_line(
    ax: Axes, group: pd.DataFrame, pair: str, init: str, colour: str, marker: str
) -> None:
    if group["seeds"].iloc[0] >= FEW:
        ax.fill_between(group["t"], group["ci_low"], group["ci_high"], color=colour, alpha=0.1)
    ax.plot(
        group["t"],
        group["mean"],
        color=colour,
        linestyle=style.LINESTYLES.get(init, "-"),
        marker=marker,
        markevery=max(1, len(group) // 5),
        label=f"{pair}, {init} init",
    )
