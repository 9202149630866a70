"""Does a score from the loss in distribution predict generalisation? (LCRGS, scatter plots)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pydantic import Field

from basins.figures import rows, style
from basins.statistics.seeds import SHARES


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiment: str,
    slices: Annotated[list[str], Field(min_length=1, max_length=6)],
    metric: str = "accuracy",
    measure: Literal["convexity_gap", "barrier_linear", "distance"] = "convexity_gap",
) -> Figure:
    """Draw `metric` on each of `slices` against the models' scores, coloured by cluster.

    Panels show Pearson's r and the partial r given the accuracy in distribution, with their
    intervals over models. Reads `clusters`, `probes` and `association`.

    Args:
        tables: rows of `results/` by the name of their table.
        experiment: one of `connect` whose models are clustered.
        slices: the slices of probes, 1 to 6, each in a panel.
        metric: what the probes measured.
        measure: the measure that clusters and scores come from.

    Raises:
        UserError: a table is missing or has no such rows.
    """
    found = rows.select(tables, "clusters", experiment=experiment, measure=measure)
    columns = min(3, len(slices))
    lines = -(-len(slices) // columns)
    figure = style.new(min(2.25 * columns + 0.3, style.PAGE_WIDTH), 0.35 + 2.15 * lines)
    panels = figure.subplots(lines, columns, sharex=True, squeeze=False).ravel()
    clusters = sorted(found["cluster"].unique())
    part = rows.part(tables, experiment, measure)
    names = [name_of(cluster, clusters, part) for cluster in clusters]
    colours, markers = style.colours(names), style.markers(names)
    for ax, slice_ in zip(panels, slices, strict=False):
        points = found.merge(rows.probed(tables, slice_, metric), on="model")
        for cluster, name in zip(clusters, names, strict=True):
            own = points.loc[points["cluster"] == cluster]
            look = {"color": colours[name], "marker": markers[name], "alpha": 0.75}
            ax.plot(own["score"], own["value"], linestyle="", label=name, **look)
        measured = rows.select(
            tables,
            "association",
            experiment=experiment,
            measure=measure,
            slice=slice_,
            metric=metric,
            statistic=["pearson", "partial"],
        )
        told = [_told(row) for _, row in measured.iterrows()]
        ax.set_title(style.set_title(slice_), fontsize=7)
        ax.text(
            0.98,
            0.98,
            f"r = {told[0]}\npartial: {told[1]}",
            transform=ax.transAxes,
            ha="right",
            va="top",
            fontsize=6.5,
            bbox={"facecolor": "#FFFFFF", "alpha": 0.8, "pad": 1.5},
        )
        if metric in SHARES:
            ax.set_ylim(-0.03, 1.03)
            style.in_percent(ax.yaxis)
    for ax in panels[len(slices) :]:
        ax.set_axis_off()
    figure.supylabel(style.quantity(metric), fontsize=7.5)
    figure.supxlabel("score in distribution: |w − c₀| − |w − c₁|", fontsize=7.5)
    style.legend(
        figure,
        [Line2D([], [], linestyle="", color=colours[n], marker=markers[n], label=n) for n in names],
    )
    return figure


def title(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiment: str,
    slices: Sequence[str],
    metric: str = "accuracy",
    measure: str = "convexity_gap",
) -> str:
    """State the correlation of the score with the first slice."""
    chosen = {"experiment": experiment, "measure": measure, "slice": slices[0], "metric": metric}
    (row,) = rows.select(tables, "association", **chosen, statistic="pearson").to_dict("records")
    told = _told(pd.Series(row))
    return f"Score and {style.display(metric)} on {style.on(slices[0])}: r = {told}"


def caption(
    *,
    experiment: str,
    slices: list[str],
    metric: str = "accuracy",
    measure: str = "convexity_gap",
) -> str:
    """Describe what `draw` shows with the same options."""
    return (
        f"{style.sentence(metric)} on {style.joined(map(style.on, slices))}, against the score of "
        f"each of the {style.display(experiment)} by {style.display(measure)}: its distance, in "
        "the spectral embedding, to the centre of the larger part of the best division less that "
        "to the centre of the smaller; parts are called clusters where a test shows any. r: "
        "Pearson's; partial: given the accuracy in distribution; with 95 % intervals over models. "
        "After LCRGS."
    )


def name_of(cluster: int, clusters: list[int], part: str) -> str:
    """Return the name of a cluster, or other `part`; they are numbered from the largest."""
    if len(clusters) == 1:
        return "all models"
    if cluster == 0:
        return f"larger {part}"
    return f"smaller {part}" if len(clusters) == 2 else f"{part} {cluster}"


def _told(row: pd.Series) -> str:
    """Return an estimate with its interval, if there is one."""
    middle, *ends = (
        f"{row[name]:z.2f}".replace("-", "−") for name in ("estimate", "ci_low", "ci_high")
    )
    return f"{middle} [{', '.join(ends)}]" if np.isfinite(row["ci_low"]) else middle
