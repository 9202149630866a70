"""The gap between all pairs of models, ordered by cluster (LCRGS, heat maps of gaps)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from basins.figures import rows, style
from basins.statistics.seeds import SHARES

Measure = Literal["convexity_gap", "barrier_linear", "distance"]


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiment: str,
    eval_set: str,
    measure: Measure = "convexity_gap",
    slice: str | None = None,
    metric: str = "accuracy",
    path: str = "linear",
    alignment: str = "none",
    batchnorm: str = "interpolate",
) -> Figure:
    """Draw a models x models heat map of `measure` of the loss, with white lines between clusters.

    Within a cluster, models are ordered by their score. Reads `barriers`, `clusters` and `probes`.

    Args:
        tables: rows of `results/` by the name of their table.
        experiment: one of `connect` whose models are clustered.
        eval_set: what the paths were evaluated on.
        measure: what is drawn, and the measure that clusters come from.
        slice: the slice of a probe whose value for each model is drawn beside the heat map; None
            draws none.
        metric: what that probe measured.
        path: the kind of path.
        alignment: how the second model of a pair was matched to the first.
        batchnorm: the BatchNorm mode along the path.

    Raises:
        UserError: a table is missing or has no such rows.
    """
    chosen = {"experiment": experiment, "path": path, "alignment": alignment, "metric": "loss"}
    chosen |= {"batchnorm": batchnorm, "eval_set": eval_set}
    pairs = rows.select(tables, "barriers", **chosen)
    found = rows.select(tables, "clusters", experiment=experiment, measure=measure)
    ordered = found.sort_values(["cluster", "score"], kind="stable")
    models = ordered["model"].tolist()
    square = pairs.pivot(index="model_a", columns="model_b", values=measure)
    square = square.reindex(index=models, columns=models)
    square = square.where(square.notna(), square.T)

    wide = style.COLUMN_WIDTH + (0 if slice is None else 0.75)
    figure = style.new(wide, max(2.85, 1.4 + 0.12 * min(len(models), 40)))
    widths = (1,) if slice is None else (12, 1)
    panels = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    figure.set_layout_engine("none")
    least = float(np.nanmin(square)) if measure == "distance" else 0.0
    sns.heatmap(square, cmap="rocket_r", vmin=least, cbar=False, ax=panels[0])
    panels[0].set(xlabel="", ylabel="", facecolor="#E8E8E8")
    panels[0].grid(False)
    if slice is not None:
        column = rows.probed(tables, slice, metric).set_index("model").reindex(models)
        sns.heatmap(column, cmap="viridis", vmin=0, vmax=1, cbar=False, ax=panels[1])
        panels[1].set(xlabel="", ylabel="", xticks=[], yticks=[])
    figure.set_layout_engine("constrained")

    named = rows.called(models)
    several = not named[0].isdigit()
    every = -(-len(models) // 40)
    shown = np.arange(0, len(models), every)
    size = 5.5 if len(models) > 16 else 7
    panels[0].yaxis.set_ticks(shown + 0.5, [named[k] for k in shown], size=size)
    panels[0].xaxis.set_ticks(shown + 0.5, ["" if several else named[k] for k in shown], size=size)
    panels[0].tick_params(rotation=0, length=0)
    if not several:
        panels[0].set(xlabel="model (seed)", ylabel="model (seed)")
    several_clusters = rows.clusters_shown(tables, experiment, measure) != 1
    if not several_clusters:
        panels[0].set_xlabel("models; no clusters are shown")
    for end in np.flatnonzero(np.diff(ordered["cluster"])) + 1 if several_clusters else ():
        for ax in panels:
            ax.axhline(end, color="white", linewidth=2)
        panels[0].axvline(end, color="white", linewidth=2)
    names = {**style.DEFINITIONS, "distance": "Euclidean distance"}
    unit = "" if measure == "distance" else f", {style.quantity('loss')}"
    labels = [
        names[measure] + unit,
        f"{style.quantity(metric)} on\n{style.on(slice or '')}",
    ]
    for ax, label, side in zip(panels, labels, ("top", "right"), strict=False):
        beside = ax if side == "top" else [*panels]
        bar = figure.colorbar(ax.collections[0], ax=beside, location=side, aspect=30, pad=0.03)
        bar.set_label(label, fontsize=7)
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        if side == "top":  # numbers of many digits would overlap
            bar.ax.ticklabel_format(axis="x", scilimits=(-3, 4))
        if side == "right" and metric in SHARES:
            style.in_percent(bar.ax.yaxis)
    return figure


def title(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiment: str,
    measure: str = "convexity_gap",
    **_: object,
) -> str:
    """State how many clusters the gaps show."""
    found = rows.select(tables, "clusters", experiment=experiment, measure=measure)
    clusters, several = rows.clusters_shown(tables, experiment, measure), found["model"].nunique()
    name = style.sentence(measure)
    if clusters is None:
        return f"{name}s between {several} models"
    if clusters == 1:
        return f"{name}s of {several} {style.display(experiment)}: no clusters are shown"
    return f"{name}s of {several} {style.display(experiment)}: {clusters} clusters"


def caption(
    *,
    experiment: str,
    eval_set: str,
    measure: str = "convexity_gap",
    slice: str | None = None,
    metric: str = "accuracy",
    path: str = "linear",
    alignment: str = "none",
    batchnorm: str = "interpolate",
) -> str:
    """Describe what `draw` shows with the same options.

    Args:
        experiment: one of `connect` whose models are clustered.
        eval_set: what the paths were evaluated on.
        measure: what is drawn, and the measure that clusters come from.
        slice: the slice of the probe beside the heat map, or None.
        metric: what that probe measured.
        path: the kind of path.
        alignment: how the second model of a pair was matched to the first.
        batchnorm: the BatchNorm mode along the path.
    """
    beside = "" if slice is None else f" Beside it: {style.display(metric)} on {style.on(slice)}."
    return (
        f"{style.sentence(measure)} between all pairs of {style.display(experiment)} "
        f"on {style.on(eval_set)} ({style.display(path)}, {style.display(alignment)}, "
        f"{style.display(batchnorm)} where there is any). Models are ordered by the best division "
        "into two, and by score within; white lines separate clusters if a test shows them."
        f"{beside} After LCRGS, heat maps of convexity gaps."
    )
