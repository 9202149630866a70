"""The paper's own models on every subcase of HANS, by cluster (LCRGS, section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from basins.figures import rows, style

GROUPS = ("lexical overlap", "subsequence", "constituent")
LABELS = ("non-entailment", "entailment")
SIDES = {"large": "larger cluster", "small": "smaller cluster"}


@style.styled()
def draw(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw both clusters' accuracy (%) on every subcase, and its correlation with membership.

    On the right, r is point-biserial with membership of the smaller cluster, and partial r is given
    the accuracy on MNLI. Reads `published_models`. Raises `UserError` if it is missing.
    """
    found = rows.select(tables, "published_models", group=GROUPS)
    order = {name: k for k, name in enumerate((*GROUPS, *LABELS))}
    keys = found[["label", "group"]].map(order.__getitem__)
    gap = found["small"] - found["large"]
    found = found.assign(**keys.add_prefix("by_"), gap=gap)
    found = found.sort_values(["by_label", "by_group", "gap"], kind="stable")
    blocks = (found["group"] + ",\n" + found["label"]).tolist()
    starts = np.r_[0, np.cumsum([len(list(same)) for _, same in groupby(blocks)])]
    y = np.arange(len(found)) + 0.8 * np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    colours, markers = style.colours(SIDES), style.markers(SIDES)

    figure = style.new(style.PAGE_WIDTH, 0.6 + 0.15 * y[-1])
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.2, 1))
    for side, name in SIDES.items():
        look = {"color": colours[side], "marker": markers[side], "label": name}
        _dots(left, found, side, y, look)
    statistics = {"r": "r with the smaller cluster", "partial": "partial r given accuracy on MNLI"}
    dark = {"r": ("#222222", "D"), "partial": ("#999999", "v")}
    for shift, (name, label) in zip((-0.15, 0.15), statistics.items(), strict=True):
        colour, marker = dark[name]
        _dots(right, found, name, y + shift, {"color": colour, "marker": marker, "label": label})
    right.axvline(0, color="#666666", linewidth=0.8)
    left.set_yticks(y, found["name"].tolist(), size=6.5)
    left.set(xlabel="accuracy (%)", xlim=(-0.02, 1.02), ylim=(y[-1] + 0.8, -0.8))
    style.in_percent(left.xaxis)
    right.set(xlabel="correlation over models", xlim=(-0.85, 0.85))
    right.tick_params(axis="y", length=0)
    for ax in (left, right):
        ax.tick_params(axis="y", labelright=False)
    for first, last in zip(starts[:-1], starts[1:], strict=True):
        middle = (y[first] + y[last - 1]) / 2
        right.text(
            1.02,
            middle,
            blocks[first],
            transform=right.get_yaxis_transform(),
            va="center",
            size=6.5,
        )
        if first:
            for ax in (left, right):
                ax.axhline((y[first] + y[first - 1]) / 2, color="#BBBBBB", linewidth=0.6)
    handles = [
        Line2D([], [], linestyle="", color=colours[s], marker=markers[s], label=n)
        for s, n in SIDES.items()
    ]
    handles += [
        Line2D([], [], linestyle="", color=dark[s][0], marker=dark[s][1], label=n)
        for s, n in statistics.items()
    ]
    style.legend(figure, handles)
    return figure


def title(tables: Mapping[str, pd.DataFrame]) -> str:
    """State where the clusters differ most."""
    found = rows.select(tables, "published_models", group=GROUPS)
    most = found.loc[(found["large"] - found["small"]).abs().idxmax()]
    return (
        f"The published models differ most on “{most['name']}” ({most['group']}): "
        f"{style.percent(most['large'])} and {style.percent(most['small'])} by cluster"
    )


def caption() -> str:
    """Describe what `draw` shows."""
    return (
        "The hundred MNLI models of McCoy, Min & Linzen (2019) on every subcase of HANS, by the "
        "clusters that LCRGS published for them (88 and 12). Left: mean accuracy with its 95 % "
        "interval over models. Right: correlation of the accuracy with membership of the smaller "
        "cluster, and the partial correlation given the accuracy on MNLI, in which the clusters "
        "also differ; 95 % intervals over models. Subcases are sorted by the difference between "
        "clusters; those that all models get right have no interval."
    )


def _dots(ax: Axes, found: pd.DataFrame, name: str, y: np.ndarray, look: Mapping[str, Any]) -> None:
    low, middle, high = (found[f"{name}{end}"].to_numpy() for end in ("_low", "", "_high"))
    ax.errorbar(middle, y, xerr=[middle - low, high - middle], linestyle="", elinewidth=0.8, **look)
