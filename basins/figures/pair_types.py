"""Paths within and between clusters: a column per type of pair, a row per set (LCRGS Fig. 1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pydantic import Field

from basins.figures import rows, style
from basins.statistics.cluster_rows import PAIR_TYPES

Names = Annotated[list[str], Field(min_length=1)]


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiment: str,
    eval_sets: Names | None = None,
    paths: Names | None = None,
    metric: Literal["loss", "accuracy"] = "loss",
    alignment: str = "none",
    batchnorm: str = "interpolate",
) -> Figure:
    """Draw the mean of `metric` over t by type of pair and set, with its interval over seeds.

    Types without pairs have no column. Reads `pair_types`.

    Args:
        tables: rows of `results/` by the name of their table.
        experiment: one of `connect` whose models are clustered.
        eval_sets: the rows of panels in this order, 1 or more; None draws all.
        paths: the kinds of path, a line each, in this order, 1 or more; None draws all.
        metric: what is drawn.
        alignment: how the second model of a pair was matched to the first.
        batchnorm: the BatchNorm mode along the path.

    Raises:
        UserError: a table is missing or has no such rows.
    """
    chosen = {"experiment": experiment, "alignment": alignment, "batchnorm": batchnorm}
    found = rows.select(
        tables, "pair_types", **chosen, metric=metric, eval_set=eval_sets, path=paths
    )
    sets, lines = (list(dict.fromkeys(found[name])) for name in ("eval_set", "path"))
    types = [kind for kind in PAIR_TYPES if kind in set(found["pair_type"])]
    colours, markers = style.colours(lines), style.markers(lines)
    part = rows.part(tables, experiment, "convexity_gap")

    figure = style.new(style.PAGE_WIDTH, 0.5 + 1.35 * len(sets))
    panels = figure.subplots(len(sets), len(types), sharex=True, sharey="row", squeeze=False)
    for eval_set, row in zip(sets, panels, strict=True):
        for kind, ax in zip(types, row, strict=True):
            own = found.loc[(found["eval_set"] == eval_set) & (found["pair_type"] == kind)]
            for line in lines:
                curve = own.loc[own["path"] == line].sort_values("t")
                look = {"color": colours[line], "marker": markers[line], "label": line}
                ax.fill_between(
                    curve["t"], curve["ci_low"], curve["ci_high"], color=colours[line], alpha=0.2
                )
                ax.plot(curve["t"], curve["mean"], **look)
            ax.margins(x=0.02)
            ax.set_xticks((0, 0.5, 1))
        row[-1].yaxis.set_label_position("right")
        row[-1].set_ylabel(style.set_title(eval_set), rotation=270, va="bottom")
        if metric == "accuracy":
            style.in_percent(row[0].yaxis)
    for kind, ax in zip(types, panels[0], strict=True):
        pairs = found.loc[found["pair_type"] == kind, "pairs"]
        ax.set_title(f"{kind.replace('cluster', part)} ({pairs.iloc[0]})")
    figure.supxlabel(f"position on the path, starting in the larger {part}", fontsize=7.5)
    figure.supylabel(style.quantity(metric), fontsize=7.5)
    if len(lines) > 1:
        style.legend(
            figure,
            [
                Line2D([], [], color=colours[k], marker=markers[k], label=style.display(k))
                for k in lines
            ],
        )
    return figure


def title(
    tables: Mapping[str, pd.DataFrame], *, experiment: str, metric: str = "loss", **_: object
) -> str:
    """State the metric at the midpoint of the paths relative to their endpoints, by set."""
    found = rows.select(tables, "pair_types", experiment=experiment, metric=metric)
    found = found.loc[found["path"] == found["path"].iloc[0]]
    found = found.assign(total=found["mean"] * found["pairs"])
    said = []
    for eval_set, own in found.groupby("eval_set", sort=False):
        sums = own.groupby("t")[["total", "pairs"]].sum()
        means = sums["total"] / sums["pairs"]
        if {0.0, 0.5, 1.0} <= set(means.index):
            change = means[0.5] - (means[0.0] + means[1.0]) / 2
            way = "higher" if change > 0 else "lower"
            said.append(f"{way} by {abs(change):.2f} on {style.on(str(eval_set))}")
    kind = f"{style.sentence(metric)} between two models"
    return f"{kind} at the midpoint, less their mean: {', '.join(said)}" if said else kind


def caption(
    *,
    experiment: str,
    metric: str = "loss",
    alignment: str = "none",
    batchnorm: str = "interpolate",
    **_: object,
) -> str:
    """Describe what `draw` shows with the same options."""
    return (
        f"{style.sentence(metric)} along paths between two {style.display(experiment)} "
        f"({style.display(alignment)}, {style.display(batchnorm)} where there is any), by the "
        "best division of their endpoints by convexity gaps in distribution; its parts are called "
        "clusters where a test shows any. Means over pairs, whose number is in brackets, with 95 % "
        "intervals over seeds. After LCRGS, Fig. 1."
    )
