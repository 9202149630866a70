"""Every merging technique: loss and accuracy, against the best model and the ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Annotated, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pydantic import Field

from basins.figures import rows, style
from basins.statistics.merges import averages

REFERENCES = {
    "best": ("best model", (0, (4, 2))),
    "deep_ensemble": ("ensemble", (0, (1, 1.5))),
    "single": ("single models", (0, (4, 2))),
    "together": ("training on all", (0, (1, 1.5))),
}
"""Techniques that a line is drawn at, with its name and style."""

TITLES = {
    "adamerging": "AdaMerging",
    "dare": "DARE",
    "della": "DELLA",
    "ema": "EMA",
    "emr": "EMR",
    "fedavg": "FedAvg",
    "fisher": "Fisher",
    "iso_c": "Iso-C",
    "karcher": "Karcher mean",
    "magmax": "MagMax",
    "multi_slerp": "Multi-SLERP",
    "ot_fusion": "OT fusion",
    "pcb": "PCB",
    "regmean": "RegMean",
    "sce": "SCE",
    "slerp": "SLERP",
    "swa": "SWA",
    "swag": "SWAG",
    "tall_masks": "TALL masks",
    "ties": "TIES",
    "tsv": "task singular vectors",
    "wise_ft": "WiSE-FT",
    "zipit": "ZipIt!",
}
"""Techniques that are written otherwise than their files."""

Names = Annotated[list[str], Field(min_length=1)]


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    merge: str,
    alignments: Names | None = None,
    batchnorm: Names | None = None,
    eval_sets: Annotated[list[str], Field(min_length=1, max_length=5)] | None = None,
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95,
) -> Figure:
    """Draw a dot with its interval over sets for every technique, downwards in the file's order.

    The first panel is the loss on the first evaluation set, in domain; the others are the accuracy
    on each. Colours are alignments, markers BatchNorm modes; lines stand at the best model alone
    and at the ensemble of all, not aligned, in the first mode. Reads `merge/<merge>`.

    Args:
        tables: rows of `results/` by the name of their table.
        merge: one of `merge`.
        alignments: those that are drawn, 1 or more; None draws all.
        batchnorm: the modes that are drawn, 1 or more; None draws all.
        eval_sets: those that are drawn, 1 to 5, the one in domain first; None draws all.
        confidence: the confidence of the intervals, between 0.5 and 1.

    Raises:
        UserError: a table is missing or has no such rows.
    """
    chosen = {"alignment": alignments, "batchnorm": batchnorm, "eval_set": eval_sets}
    found = rows.select(tables, f"merge/{merge}", **chosen)
    summary = averages(found, confidence)
    techniques, aligned, modes, sets = (
        list(dict.fromkeys(found[column]))
        for column in ("technique", "alignment", "batchnorm", "eval_set")
    )
    series = list(product(aligned, modes))
    colours, markers = style.colours(aligned), style.markers(modes)
    height = 0.9 + len(techniques) * max(0.13, 0.075 * len(series))
    shown = [(sets[0], "loss"), *((name, "accuracy") for name in sets)]
    figure = style.new(min(1.7 + 1.4 * len(shown), style.PAGE_WIDTH), height)
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    offsets = 0.8 * ((np.arange(len(series)) + 0.5) / len(series) - 0.5)
    for ax, (eval_set, metric) in zip(panels, shown, strict=True):
        part = summary.loc[(summary["eval_set"] == eval_set) & (summary["metric"] == metric)]
        for (alignment, mode), offset in zip(series, offsets, strict=True):
            own = part.loc[(part["alignment"] == alignment) & (part["batchnorm"] == mode)]
            look = {"color": colours[alignment], "marker": markers[mode], "linestyle": ""}
            _dots(ax, own, techniques, offset, look)
            single = found.loc[
                (found["eval_set"] == eval_set)
                & (found["alignment"] == alignment)
                & (found["batchnorm"] == mode)
            ]
            places = [techniques.index(name) + offset for name in single["technique"]]
            ax.plot(single[metric], places, **look, markersize=1.8, alpha=0.35, zorder=1)
        first = part.loc[(part["alignment"] == aligned[0]) & (part["batchnorm"] == modes[0])]
        for technique, (_, line) in REFERENCES.items():
            for mean in first.loc[first["technique"] == technique, "mean"]:
                ax.axvline(mean, color="#555555", linewidth=0.8, linestyle=line, zorder=1)
        ax.set_title(style.set_title(eval_set).replace(": ", "\n"), fontsize=7)
        ax.set_xlabel(style.METRICS[metric])
        ax.grid(axis="y", linewidth=0.3, color="#dddddd")
        if metric == "accuracy":
            ax.set_xlim(-0.03, 1.03)
            style.in_percent(ax.xaxis)
        else:
            ax.set_xlim(left=0)
    panels[0].set_yticks(
        range(len(techniques)), [TITLES.get(t, style.display(t)) for t in techniques]
    )
    panels[0].set_ylim(len(techniques) - 0.4, -0.6)
    style.legend(figure, _keys(techniques, colours, markers))
    return figure


def caption(
    *,
    merge: str,
    alignments: list[str] | None = None,
    batchnorm: list[str] | None = None,
    eval_sets: list[str] | None = None,
    confidence: float = 0.95,
) -> str:
    """Say what `draw` shows under the same options.

    Args:
        merge: one of `merge`.
        alignments: not mentioned, since the legend names them.
        batchnorm: the modes that are drawn; None says nothing of them.
        eval_sets: not mentioned, since the panels name them.
        confidence: the confidence of the intervals.
    """
    modes = (
        f" BatchNorm statistics: {', '.join(map(style.display, batchnorm))}." if batchnorm else ""
    )
    return (
        f"Merging techniques on the sets of models {style.display(merge)}: mean loss in domain and "
        f"accuracy, with {100 * confidence:g} % intervals over sets; pale: single sets. Lines: the "
        "best model of each set by its loss on training rows, and the ensemble of the set."
        f"{modes} The SoK, whose taxonomy this is, has no experiments: operationalised here."
    )


def _dots(
    ax: Axes, own: pd.DataFrame, techniques: list[str], offset: float, look: Mapping[str, Any]
) -> None:
    """Draw the means of one series; without an interval a dot stands alone."""
    places = [techniques.index(name) + offset for name in own["technique"]]
    low, high = own["mean"] - own["ci_low"], own["ci_high"] - own["mean"]
    ends = np.nan_to_num(np.stack([low, high]))
    ax.errorbar(own["mean"], places, xerr=ends, markersize=3, elinewidth=0.7, **look)


def _keys(
    techniques: list[str], colours: Mapping[str, str], markers: Mapping[str, str]
) -> list[Line2D]:
    keys = []
    if len(colours) > 1:
        for name, colour in colours.items():
            label = "not aligned" if name == "none" else style.display(name)
            keys.append(Line2D([], [], linestyle="", marker="o", color=colour, label=label))
    if len(markers) > 1:
        for name, marker in markers.items():
            label = f"BatchNorm: {style.display(name)}"
            keys.append(Line2D([], [], linestyle="", marker=marker, color="#555555", label=label))
    for technique, (name, line) in REFERENCES.items():
        if technique in techniques:
            keys.append(Line2D([], [], color="#555555", linewidth=0.8, linestyle=line, label=name))
    return keys
