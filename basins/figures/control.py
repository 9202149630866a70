"""The control that the paper lacks: barriers after alignment between models of the same data.

MMC's Conjecture 1 says that models which cannot be joined linearly, up to symmetries, rely on
different mechanisms. Two models of the same data, joined as the others are, put it to the test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pydantic import Field

from basins.figures import rows, style

KINDS = (
    "same data, separate init",
    "same data, shared init",
    "different data, separate init",
    "different data, shared init",
)
"""The kinds of pair, in the order of their colours."""

Names = Annotated[list[str], Field(min_length=1)]


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiments: Names,
    alignments: Names,
    batchnorm: str,
    eval_set: str,
    path: str = "linear",
) -> Figure:
    """Draw the barrier of the error over the distance of invariances, a panel per alignment.

    Reads `invariance` (a mark per pair of models: how far apart their invariance profiles are, in
    points of accuracy, and the barrier above the chord) and `summary/invariance` (the mean of each
    kind of pair, with its 95 % intervals over seeds). A pair high up on the left has a barrier but
    no difference in mechanism that the interventions show.

    Args:
        tables: rows of `results/` by the name of their table.
        experiments: one or more of `connect`. A kind of pair that several have is taken from the
            first.
        alignments: how the second model of a pair was brought to the first, 1 or more.
        batchnorm: the mode of BatchNorm statistics along the path.
        eval_set: what the barrier was measured on.
        path: the kind of path.

    Raises:
        UserError: a table is missing or has no such rows.
    """
    chosen = {"path": path, "batchnorm": batchnorm, "eval_set": eval_set, "metric": "error"}
    colours, markers = style.colours(KINDS), style.markers(KINDS)
    width = style.PAGE_WIDTH if len(alignments) > 1 else style.COLUMN_WIDTH
    figure = style.new(width, 3)
    panels = figure.subplots(1, len(alignments), sharex=True, sharey=True, squeeze=False)[0]
    keys = {}
    for alignment, ax in zip(alignments, panels, strict=True):
        pairs, means = (
            _rows(tables, table, experiment=experiments, alignment=alignment, **chosen)
            for table in ("invariance", "summary/invariance")
        )
        for kind in KINDS:
            marks = pairs.loc[pairs["kind"] == kind]
            if marks.empty:
                continue
            look = {"linestyle": "", "marker": markers[kind], "markersize": 4}
            look |= {"color": colours[kind], "label": kind}
            ax.plot(marks["distance"], marks["barrier_linear"], **look, alpha=0.6)
            mean = means.loc[means["kind"] == kind].set_index("quantity")
            _draw_mean(ax, mean, kind, colours[kind])
            keys[kind] = Line2D([], [], **look)
        ax.axhline(0, color="#999999", linewidth=0.6, zorder=1)
        ax.set_title("not aligned" if alignment == "none" else style.display(alignment))
        ax.label_outer()
        style.in_percent(ax.xaxis)
    panels[0].set_ylabel(f"{style.DEFINITIONS['barrier_linear']}, {style.METRICS['error']}")
    figure.supxlabel("distance of the invariance profiles (points)", fontsize=7.5)
    panels[0].set_xlim(left=0)
    style.in_percent(panels[0].yaxis)
    style.legend(figure, [keys[kind] for kind in KINDS if kind in keys])
    return figure


def title(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiments: Sequence[str],
    alignments: Sequence[str],
    batchnorm: str,
    eval_set: str,
    path: str = "linear",
) -> str:
    """Say how high barriers are after the last alignment, for the same and for other data."""
    chosen = {"path": path, "batchnorm": batchnorm, "eval_set": eval_set, "metric": "error"}
    last = alignments[-1]
    pairs = _rows(tables, "invariance", experiment=experiments, alignment=last, **chosen)
    same = pairs["kind"].str.startswith("same")
    means = [100 * pairs.loc[side, "barrier_linear"].mean() for side in (same, ~same)]
    return (
        f"With {style.display(last)}, barriers average {means[0]:.0f} points of error for the same "
        f"data and {means[1]:.0f} for different data"
    )


def caption(
    *,
    experiments: Sequence[str],
    alignments: Sequence[str],
    batchnorm: str,
    eval_set: str,
    path: str = "linear",
) -> str:
    """Say what `draw` shows under the same options.

    Args:
        experiments: one or more of `connect`.
        alignments: not mentioned, since the panels name them.
        batchnorm: the mode of BatchNorm statistics along the path.
        eval_set: what the barrier was measured on.
        path: the kind of path.
    """
    return (
        f"Barrier of the error on {eval_set.upper()} ({style.display(path)}, "
        f"{style.display(batchnorm)}) over how far apart two models are in what they rely on (the "
        "distance of their accuracies under the interventions). Marks: single pairs of "
        f"{', '.join(map(style.display, experiments))}; crosses: the mean of their kind with its "
        "95 % intervals over seeds. A pair of one kind of data that keeps its barrier would speak "
        "against Conjecture 1 of MMC, which has no such control."
    )


def _rows(
    tables: Mapping[str, pd.DataFrame], table: str, **chosen: str | Sequence[str]
) -> pd.DataFrame:
    """Return the chosen rows of every kind from the first experiment that has it."""
    found = rows.select(tables, table, **chosen)
    first = found.groupby("kind", sort=False)["experiment"].transform("first")
    return found.loc[found["experiment"] == first]


def _draw_mean(ax: Axes, mean: pd.DataFrame, kind: str, colour: str) -> None:
    x, y = mean.loc["distance"], mean.loc["barrier"]
    ax.errorbar(
        x["mean"],
        y["mean"],
        xerr=[[x["mean"] - x["ci_low"]], [x["ci_high"] - x["mean"]]],
        yerr=[[y["mean"] - y["ci_low"]], [y["ci_high"] - y["mean"]]],
        marker="+",
        markersize=7,
        markeredgewidth=1.3,
        linestyle="",
        color=colour,
        elinewidth=0.8,
        label=f"{kind}, mean",
    )
