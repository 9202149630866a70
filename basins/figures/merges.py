"""All merging techniques: loss and accuracy, compared with the best model and the ensemble."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
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
    "best": ("best single model", (0, (4, 2))),
    "deep_ensemble": ("ensemble", (0, (1, 1.5))),
    "single": ("single models", (0, (4, 2))),
    "together": ("training on all", (0, (1, 1.5))),
}
"""Techniques that are drawn as lines, with their names and styles."""

TITLES = {
    "best": "best single model",
    "adamerging": "AdaMerging",
    "cca_merge": "CCA-Merge",
    "dare": "DARE",
    "della": "DELLA",
    "ema": "EMA",
    "emr": "EMR",
    "fedavg": "FedAvg",
    "fisher": "Fisher",
    "iso_c": "Iso-C",
    "iso_cts": "Iso-CTS",
    "karcher": "Karcher mean",
    "knots": "KnOTS",
    "magmax": "MagMax",
    "model_stock": "Model Stock",
    "multi_slerp": "Multi-SLERP",
    "ot_fusion": "OT fusion",
    "pcb": "PCB",
    "regmean": "RegMean",
    "regmean_plusplus": "RegMean++",
    "routed": "routed ensemble",
    "sce": "SCE",
    "slerp": "SLERP",
    "spro": "SPRO",
    "swa": "SWA",
    "swag": "SWAG",
    "tall_masks": "TALL masks",
    "task_add": "task arithmetic",
    "task_negate": "task arithmetic, negated",
    "ties": "TIES",
    "tsv": "task singular vectors",
    "wise_ft": "WiSE-FT",
    "zipit": "ZipIt!",
}
"""Names of techniques that differ from those of their files."""

KINDS = ("reference", "ensembling", "aggregation", "arithmetic", "alignment")
"""The kinds of technique from top to bottom: families of the SoK, and those with a base."""

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
    """Draw a dot with its interval over sets for each technique, or heat maps for several ways.

    The first panel is the loss on the first evaluation set, in distribution; the others are the
    accuracy on each. Techniques are sorted by kind and then by loss. With several alignments or
    BatchNorm modes, each cell is the mean of one of them. Reads `merge/<merge>` and, if it exists,
    `merge/<merge>.techniques`.

    Args:
        tables: rows of `results/` by the name of their table.
        merge: one of `merge`.
        alignments: those that are drawn, 1 or more; None draws all.
        batchnorm: the modes that are drawn, 1 or more; None draws all.
        eval_sets: those that are drawn, 1 to 5, the one in distribution first; None draws all.
        confidence: the confidence of the intervals, between 0.5 and 1.

    Raises:
        UserError: a table is missing or has no such rows.
    """
    chosen = {"alignment": alignments, "batchnorm": batchnorm, "eval_set": eval_sets}
    found = rows.select(tables, f"merge/{merge}", **chosen)
    summary = averages(found, confidence)
    sets = list(dict.fromkeys(found["eval_set"]))
    kinds = _kinds(tables.get(f"merge/{merge}.techniques"), found)
    loss = summary.loc[(summary["eval_set"] == sets[0]) & (summary["metric"] == "loss")]
    least = loss.groupby("technique")["mean"].min()
    order = sorted(kinds, key=lambda name: (kinds[name], least[name]))
    shown = [(sets[0], "loss"), *((name, "accuracy") for name in sets)]
    several = len(found.drop_duplicates(["alignment", "batchnorm"])) > 1
    lines = len(order) if not several else len(found.drop_duplicates(["technique", "alignment"]))
    figure = style.new(min(1.7 + 1.4 * len(shown), style.PAGE_WIDTH), 1.1 + 0.155 * lines)
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for ax, (eval_set, metric) in zip(panels, shown, strict=True):
        part = summary.loc[(summary["eval_set"] == eval_set) & (summary["metric"] == metric)]
        if several:
            _cells(ax, part, order, metric)
        else:
            _dots(ax, part, found.loc[found["eval_set"] == eval_set], order, metric)
        loss = metric == "loss"
        name = f"loss on\n{style.on(eval_set)}" if loss else style.set_title(eval_set)
        ax.set_title(name.replace(": ", "\n").replace(", ", ",\n"))
        ax.set_xlabel(style.quantity(metric))
    if not several:
        panels[0].set_yticks(range(len(order)), [called(name) for name in order])
        panels[0].set_ylim(len(order) - 0.4, -0.6)
        for place in (k for k, name in enumerate(order[1:]) if kinds[name] != kinds[order[k]]):
            for ax in panels:
                ax.axhline(place + 0.5, color="#999999", linewidth=0.6)
        style.legend(figure, _keys(order))
    return figure


def title(tables: Mapping[str, pd.DataFrame], *, merge: str, **_: object) -> str:
    """State the range of accuracies of techniques on the first and the last set."""
    found = rows.select(tables, f"merge/{merge}")
    sets = list(dict.fromkeys(found["eval_set"]))
    ways = ["eval_set", "technique", "alignment", "batchnorm"]
    means: Any = found.groupby(ways)["accuracy"].mean()
    said = []
    for eval_set in dict.fromkeys((sets[0], sets[-1])):
        own = means.xs(eval_set).sort_values(kind="stable")
        low, high = (
            f"{style.percent(float(own.iloc[k]))} ({called(str(own.index[k][0]))})" for k in (0, -1)
        )
        said.append(f"{low} to {high} on {style.on(eval_set)}")
    return f"Accuracy by merging technique: {'; '.join(said)}"


def caption(*, batchnorm: list[str] | None = None, confidence: float = 0.95, **_: object) -> str:
    """Describe what `draw` shows with the same options."""
    modes = f" {', '.join(map(style.display, batchnorm))}." if batchnorm else ""
    return (
        "Merging techniques by kind (ensembles, weight averages, arithmetic with the network from "
        "which all were tuned, techniques that match units): mean loss in distribution and "
        f"accuracy over sets of models, with {100 * confidence:g} % intervals over sets; pale: "
        "single sets. Lines: the best single model of each set by its loss on training examples, "
        "and the ensemble of the set. With several ways of matching units or treating BatchNorm, "
        f"each has a cell with its mean over sets.{modes} The taxonomy is that of the SoK, which "
        "has no experiments."
    )


def called(technique: str) -> str:
    """Return the name of a technique: from `TITLES`, or the words of its key."""
    return TITLES.get(technique, style.display(technique))


def _kinds(known: pd.DataFrame | None, found: pd.DataFrame) -> dict[str, int]:
    """Return the kind of each technique as an index into `KINDS`; all 0 if none is known."""
    kinds = {}
    for row in [] if known is None else known.to_dict("records"):
        based = row["family"] == "aggregation" and str(row["base"]) == "True"
        kinds[row["technique"]] = KINDS.index("arithmetic" if based else row["family"])
    return {name: kinds.get(name, 0) for name in dict.fromkeys(found["technique"])}


def _dots(
    ax: Axes, means: pd.DataFrame, single: pd.DataFrame, order: Sequence[str], metric: str
) -> None:
    """Draw the mean of each technique with its interval, and the single sets in a pale colour."""
    places = means["technique"].map(order.index)
    ends = np.nan_to_num(
        np.stack([means["mean"] - means["ci_low"], means["ci_high"] - means["mean"]])
    )
    ax.errorbar(means["mean"], places, xerr=ends, fmt="o", color="C0", elinewidth=0.7)
    across, up = single[metric], single["technique"].map(order.index) + 0.25
    ax.plot(across, up, "o", color="C0", markersize=1.8, alpha=0.35, zorder=1)
    for technique, (_, line) in REFERENCES.items():
        for mean in means.loc[means["technique"] == technique, "mean"]:
            ax.axvline(mean, color="#555555", linewidth=0.8, linestyle=line, zorder=1)
    ax.grid(axis="y", linewidth=0.3, color="#dddddd")
    if metric == "accuracy":
        style.in_percent(ax.xaxis)


def _cells(ax: Axes, means: pd.DataFrame, order: Sequence[str], metric: str) -> None:
    """Draw a row for every technique and alignment, with a cell for each BatchNorm mode."""
    known = means.drop_duplicates(["technique", "alignment"])[["technique", "alignment"]]
    lines = sorted(known.itertuples(index=False, name=None), key=lambda at: order.index(at[0]))
    square = means.pivot(index=["technique", "alignment"], columns="batchnorm", values="mean")
    square = square.reindex(lines)[list(dict.fromkeys(means["batchnorm"]))]
    values = square.to_numpy(float)
    drawn = ax.imshow(
        values,
        aspect="auto",
        cmap="viridis_r" if metric == "loss" else "viridis",
        vmin=0,
        vmax=None if metric == "loss" else 1,
    )
    for (line, column), value in np.ndenumerate(values):
        said = f"{value:.2f}" if metric == "loss" else f"{100 * value:.0f}"
        light = sum(drawn.to_rgba(value)[:3]) > 1.5
        ax.text(
            column,
            line,
            said,
            ha="center",
            va="center",
            size=6,
            color=style.ON_PALE if light else "#ffffff",
        )
    ax.set_xticks(range(square.shape[1]), [_mode(name) for name in square], rotation=90)
    ways = [f"{called(technique)}, {style.display(way)}" for technique, way in lines]
    alone = Counter(technique for technique, _ in lines)
    ways = [called(t) if alone[t] == 1 else way for (t, _), way in zip(lines, ways, strict=True)]
    ax.set_yticks(range(len(lines)), ways)
    ax.tick_params(length=0)
    ax.grid(False)
    for place in (k for k in range(len(lines) - 1) if lines[k][0] != lines[k + 1][0]):
        ax.axhline(place + 0.5, color="#ffffff", linewidth=1.5)


def _mode(batchnorm: str) -> str:
    return style.display(batchnorm).removeprefix("BatchNorm ")


def _keys(techniques: Sequence[str]) -> list[Line2D]:
    return [
        Line2D([], [], color="#555555", linewidth=0.8, linestyle=line, label=name)
        for technique, (name, line) in REFERENCES.items()
        if technique in techniques
    ]
