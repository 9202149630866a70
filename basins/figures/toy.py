"""Pairs of toy networks: loss on paths, and barriers against shared patterns (MMC Fig. 13)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pydantic import Field

from basins.figures import rows, style

KINDS = {
    "same_complex": "complex – complex",
    "same_simple": "simple – simple",
    "simple_both": "simple – both",
    "different": "complex – simple",
}
"""The kinds of pairs of trained networks, and their names in the figure."""


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    toy: str,
    threshold: Annotated[float, Field(ge=0)] | None = None,
) -> Figure:
    """Draw the loss on paths as trained and permuted, and barriers against shared patterns.

    Reads `toy/<toy>` and `toy/<toy>.curves`. `threshold` marks the barrier up to which a pair
    counts as connected. Raises `UserError` if a table is missing. MMC Fig. 13.
    """
    pairs = rows.select(tables, f"toy/{toy}")
    curves = rows.select(tables, f"toy/{toy}.curves")
    colours, markers = style.colours(KINDS), style.markers(KINDS)

    figure = style.new(style.PAGE_WIDTH, 2.3)
    raw, best, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.25))
    best.sharey(raw)
    for ax, permuted in ((raw, False), (best, True)):
        _paths(ax, curves.loc[curves["permuted"] == permuted], colours, markers)
        ax.set_title("best permutation" if permuted else "as trained")
    raw.set(ylabel="loss (guessing = 1)", ylim=(0, None))
    best.tick_params(labelleft=False)

    for kind in KINDS:
        points = pairs.loc[pairs["kind"] == kind]
        certain = points["barrier_best"] - points["barrier_bound"]
        right.errorbar(
            points["patterns"],
            points["barrier_best"],
            (certain, 0 * certain),
            linestyle="",
            marker=markers[kind],
            color=colours[kind],
            alpha=0.6,
            elinewidth=0.5,
            label=kind,
        )
    initial = pairs["patterns_initial"]
    right.axvspan(
        initial.min(), initial.max(), color="#888888", alpha=0.18, zorder=0, label="untrained"
    )
    at = {"transform": right.get_xaxis_transform(), "ha": "center", "va": "center", "fontsize": 6.5}
    right.text((initial.min() + initial.max()) / 2, 0.5, "before\ntraining", **at, color="#555555")
    if threshold is not None:
        right.axhline(threshold, **style.CHANCE, zorder=1)
    right.set(xlabel="shared activation patterns (%)", ylabel="barrier, best permutation")
    right.set_ylim(bottom=-0.01)
    style.in_percent(right.xaxis)
    style.legend(
        figure,
        [
            Line2D([], [], color=colours[kind], marker=markers[kind], label=label)
            for kind, label in KINDS.items()
        ],
    )
    return figure


def title(tables: Mapping[str, pd.DataFrame], *, toy: str, **_: object) -> str:
    """State the barriers under the best permutation, by the attributes that networks use."""
    pairs = rows.select(tables, f"toy/{toy}")
    apart = pairs["kind"] == "different"
    return (
        "Under the best permutation, barriers between complex and simple networks are at least "
        f"{pairs.loc[apart, 'barrier_best'].min():.2f}, between all others at most "
        f"{pairs.loc[~apart, 'barrier_best'].max():.2f}"
    )


def caption(*, toy: str, threshold: float | None = None) -> str:
    """Describe what `draw` shows with the same options."""
    dotted = (
        ""
        if threshold is None
        else f" Dotted: {threshold:g}, up to which a pair counts as connected."
    )
    return (
        f"Toy {style.display(toy)}: pairs of networks that use the complex attribute, the simple "
        "one, or were trained on data where both predict the label. Left: loss along the linear "
        "path on data where both do (thin: pairs; bold: their mean), as trained and under the best "
        "permutation found. Right: the barrier under this permutation against the largest share of "
        "activation signs that agree under any permutation; lines extend down to a lower bound "
        f"over all permutations; grey: the same networks before training.{dotted} After MMC, Fig. "
        "13."
    )


def _paths(
    ax: Axes, curves: pd.DataFrame, colours: Mapping[str, str], markers: Mapping[str, str]
) -> None:
    """Draw the loss of every pair, and its mean by kind."""
    for kind in KINDS:
        table = curves.loc[curves["kind"] == kind].pivot_table(
            values="loss", index="t", columns=["model_a", "model_b"]
        )
        ax.plot(table.index, table, color=colours[kind], linewidth=0.4, alpha=0.25)
        mean = table.mean(axis=1)
        ax.plot(
            mean.index, mean, color=colours[kind], marker=markers[kind], markevery=5, label=kind
        )
    ax.set(xlabel="position on the path", xticks=(0, 0.5, 1))
    ax.margins(x=0.02)
