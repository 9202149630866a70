"""The control that the paper lacks: barriers after matching between models of the same data.

MMC's Conjecture 1 says that models that cannot be connected linearly, up to symmetries, rely on
different mechanisms. Pairs of models trained on the same data, joined in the same way, test it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import Field

from basins.figures import rows, style

LOOKS: Mapping[str, dict[str, Any]] = {
    "same data, separate init": {"color": "C0", "marker": "o", "linestyle": "-"},
    "different data, separate init": {"color": "C1", "marker": "s", "linestyle": "-"},
    "same data, shared init": {"color": "C0", "marker": "^", "linestyle": "--"},
    "different data, shared init": {"color": "C1", "marker": "D", "linestyle": "--"},
}
"""The kinds of pair: colours show the same or different data, dashes shared initial weights."""

BARRIER = f"{style.DEFINITIONS['barrier_linear']}, {style.quantity('error')}"

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
    """Draw the barrier of the error by kind of pair, a panel per alignment.

    Reads `invariance` (a mark per pair of models: the barrier above the chord, and the distance of
    their invariance profiles in points of accuracy) and `summary/invariance` (the mean of each kind
    of pair, with its 95 % interval over seeds).

    Args:
        tables: rows of `results/` by the name of their table.
        experiments: one or more of `connect`. A kind of pair in several of them is taken from the
            first.
        alignments: how the second model of a pair was matched to the first, 1 or more.
        batchnorm: the BatchNorm mode along the path.
        eval_set: the evaluation set of the barrier.
        path: the kind of path.

    Raises:
        UserError: a table is missing or has no such rows.
    """
    chosen = {"path": path, "batchnorm": batchnorm, "eval_set": eval_set, "metric": "error"}
    chosen |= {"experiment": experiments, "alignment": alignments}
    pairs, means = (
        _first(rows.select(tables, t, **chosen)) for t in ("invariance", "summary/invariance")
    )
    kinds = [kind for kind in LOOKS if kind in set(pairs["kind"])]
    figure, panels = by_alignment(alignments, 0.75 + 0.36 * len(kinds))
    apart = {kind: pairs.loc[pairs["kind"] == kind, "distance"].mean() for kind in kinds}
    for alignment, ax in zip(alignments, panels, strict=True):
        for place, kind in enumerate(kinds):
            marks, mean = (
                table.loc[(table["kind"] == kind) & (table["alignment"] == alignment)]
                for table in (pairs, means)
            )
            mean = mean.loc[mean["quantity"] == "barrier"]
            look: dict[str, Any] = {**LOOKS[kind], "linestyle": ""}
            up = (
                place - 0.2 + 0.1 * (np.arange(len(marks)) % 2)
            )  # so that equal values are both visible
            ax.plot(marks["barrier_linear"], up, **look, alpha=0.5, label=kind)
            ends = (mean["mean"] - mean["ci_low"], mean["ci_high"] - mean["mean"])
            look |= {"marker": "|", "markersize": 8, "markeredgewidth": 1.5}
            ax.errorbar(mean["mean"], [place + 0.2] * len(mean), xerr=ends, **look)
        ax.axvline(0, **style.CHANCE, zorder=1)
        ax.tick_params(axis="y", length=0)
    style.in_percent(panels[0].xaxis)
    points = {kind: f"{100 * apart[kind]:.0f}" for kind in kinds}
    names = [f"{k}\n({p} point{'' if p == '1' else 's'} apart)" for k, p in points.items()]
    panels[0].set_yticks(range(len(kinds)), names)
    panels[0].set_ylim(len(kinds) - 0.5, -0.5)
    figure.supxlabel(BARRIER, fontsize=7.5)
    return figure


def by_alignment(alignments: Sequence[str], height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of this height in inches with a titled panel for each alignment."""
    figure = style.new(style.PAGE_WIDTH if len(alignments) > 1 else style.COLUMN_WIDTH, height)
    panels = figure.subplots(1, len(alignments), sharex=True, sharey=True, squeeze=False)[0]
    for alignment, ax in zip(alignments, panels, strict=True):
        ax.set_title(style.sentence(alignment))
    return figure, [*panels]


def title(tables: Mapping[str, pd.DataFrame], *, alignments: Sequence[str], **options: Any) -> str:
    """State the mean barriers after the last alignment, for the same and different data."""
    same, other = means(tables, alignments=alignments, **options)
    return (
        f"With {style.display(alignments[-1])}, barriers average {same:.0f} points of error for "
        f"the same data and {other:.0f} for different data"
    )


def means(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiments: Sequence[str],
    alignments: Sequence[str],
    batchnorm: str,
    eval_set: str,
    path: str = "linear",
) -> list[float]:
    """Return the mean barriers after the last alignment (points) for same and different data."""
    chosen = {"path": path, "batchnorm": batchnorm, "eval_set": eval_set, "metric": "error"}
    chosen |= {"experiment": experiments, "alignment": alignments[-1]}
    pairs = _first(rows.select(tables, "invariance", **chosen))
    same = pairs["kind"].str.startswith("same")
    return [100 * float(pairs.loc[side, "barrier_linear"].mean()) for side in (same, ~same)]


def caption(*, batchnorm: str, eval_set: str, path: str = "linear", **_: object) -> str:
    """Describe what `draw` shows with the same options."""
    return (
        f"Barrier of the error on {style.on(eval_set)} ({style.display(path)}, "
        f"{style.display(batchnorm)}) by the training data of the two models. Marks: single pairs; "
        "bars: their mean with its 95 % interval over seeds; in brackets: the mean over pairs of "
        "the largest difference between two models' accuracies under the interventions, which "
        "measures how much their mechanisms differ, and is never 0, as images are sampled (1 to 4 "
        "points for equal models). A barrier between models of the same data is evidence against "
        "Conjecture 1 of MMC, which has no such control."
    )


def _first(found: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of every kind from the first experiment that has it."""
    first = found.groupby("kind", sort=False)["experiment"].transform("first")
    return found.loc[found["experiment"] == first]
