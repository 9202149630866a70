"""The barrier between all pairs of models, as one matrix per evaluation set."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Literal

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from seaborn.utils import relative_luminance

from basins.figures import rows, style

ANNOTATION_SIZE = 5.5

MANY = 40
"""Up to so many models, each has a label and each cell is drawn as a separate shape."""


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiment: str,
    alignment: str,
    batchnorm: str,
    metric: Literal["loss", "error"],
    definition: Literal[
        "barrier_linear", "barrier_mean", "barrier_mid", "barrier_endpoint", "convexity_gap"
    ] = "barrier_linear",
    path: str = "linear",
) -> Figure:
    """Draw a models x models heat map of barriers for each evaluation set, on one colour scale.

    Models are ordered by recipe and seed. A pair that was measured in only one direction fills both
    cells; cells without a measurement are grey. Reads `barriers`.

    Args:
        tables: rows of `results/` by the name of their table.
        experiment: one of `connect`.
        alignment: how the second model of a pair was matched to the first.
        batchnorm: the BatchNorm mode along the path.
        metric: whether the barrier is of the loss or the error.
        definition: the definition of the barrier.
        path: the kind of path.

    Raises:
        UserError: a table is missing or has no such rows.
    """
    chosen = {"experiment": experiment, "path": path, "alignment": alignment}
    chosen |= {"batchnorm": batchnorm, "metric": metric}
    pairs = rows.select(tables, "barriers", **chosen)
    eval_sets = style.ordered_sets(pairs["eval_set"])
    models = _ordered_models(pairs)
    matrices = [
        _matrix(pairs.loc[pairs["eval_set"] == eval_set], models, definition)
        for eval_set in eval_sets
    ]
    del chosen["alignment"]  # the scale is shared by all alignments
    barriers = rows.select(tables, "barriers", **chosen)[definition].to_numpy(dtype=float)
    low, high = min(0.0, float(np.nanmin(barriers))), float(np.nanmax(barriers))

    columns = min(2, len(eval_sets))
    lines = -(-len(eval_sets) // columns)
    width = style.PAGE_WIDTH if columns == 2 else style.COLUMN_WIDTH
    figure = style.new(width, 0.4 + 2.85 * lines)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    side = 2.5 * 72 / len(models)
    # seaborn draws the figure to read its labels; computing the layout once, later, is enough.
    figure.set_layout_engine("none")
    for ax, matrix, eval_set in zip(panels, matrices, eval_sets, strict=False):
        texts = matrix.map(lambda barrier: _text(barrier, metric))
        longest = max(map(len, texts.to_numpy().ravel()))
        sns.heatmap(
            matrix,
            vmin=low,
            vmax=high,
            cmap="rocket_r",
            annot=texts if longest * 0.7 * ANNOTATION_SIZE <= side else False,
            fmt="",
            annot_kws={"size": ANNOTATION_SIZE},
            square=True,
            cbar=False,
            rasterized=len(models) > MANY,
            ax=ax,
        )
        ax.set(title=style.set_title(eval_set), xlabel="", ylabel="", facecolor="#E8E8E8")
        ax.grid(False)
        _darken_texts(ax, matrix)
        _label_recipes(ax, models)
        ax.label_outer()
    for ax in panels[len(eval_sets) :]:
        ax.set_axis_off()
    figure.set_layout_engine("constrained")
    bar = figure.colorbar(panels[0].collections[0], ax=panels.tolist(), shrink=0.6, aspect=30)
    bar.set_label(f"{style.DEFINITIONS[definition]}, {style.quantity(metric)}")
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    if metric == "error":
        style.in_percent(bar.ax.yaxis)
    return figure


def title(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiment: str,
    alignment: str,
    batchnorm: str,
    metric: str,
    definition: str = "barrier_linear",
    path: str = "linear",
) -> str:
    """State the mean barrier on the first set."""
    chosen = {"experiment": experiment, "path": path, "alignment": alignment, "metric": metric}
    pairs = rows.select(tables, "barriers", **chosen, batchnorm=batchnorm)
    first = style.ordered_sets(pairs["eval_set"])[0]
    mean = pairs.loc[pairs["eval_set"] == first, definition].mean()
    high = f"{100 * mean:.0f} points of error" if metric == "error" else f"{mean:.2g} nats"
    return f"Barriers on {style.on(first)}, {style.display(alignment)}: {high} on average"


def caption(
    *,
    experiment: str,
    alignment: str,
    batchnorm: str,
    metric: str,
    definition: str = "barrier_linear",
    path: str = "linear",
) -> str:
    """Describe what `draw` shows with the same options.

    Args:
        experiment: one of `connect`.
        alignment: how the second model of a pair was matched to the first.
        batchnorm: the BatchNorm mode along the path.
        metric: whether the barrier is of the loss or the error.
        definition: the definition of the barrier.
        path: the kind of path.
    """
    return (
        f"{style.DEFINITIONS[definition].capitalize()}, {style.quantity(metric)}, between all "
        f"pairs of models of “{style.display(experiment)}” ({style.display(path)}, "
        f"{style.display(alignment)}, {style.display(batchnorm)}). Rows and columns: models by "
        "recipe and seed; grey: not measured. Figures before and after matching share a colour "
        "scale."
    )


def _ordered_models(pairs: pd.DataFrame) -> list[str]:
    models = pd.unique(pairs[["model_a", "model_b"]].to_numpy().ravel())
    recipes = list(dict.fromkeys(map(rows.recipe, models)))
    return sorted(models, key=lambda m: (recipes.index(rows.recipe(m)), rows.seed(m)))


def _matrix(pairs: pd.DataFrame, models: list[str], definition: str) -> pd.DataFrame:
    measured = pairs.pivot(index="model_a", columns="model_b", values=definition)
    measured = measured.reindex(index=models, columns=models)
    return measured.where(measured.notna(), measured.T)


def _text(barrier: float, metric: str) -> str:
    if np.isnan(barrier):
        return ""
    return f"{100 * barrier:z.0f}" if metric == "error" else f"{barrier:z.2f}"


def _darken_texts(ax: Axes, matrix: pd.DataFrame) -> None:
    """Write in black wherever black has more contrast than seaborn's white."""
    mesh = ax.collections[0]
    for text in ax.texts:
        column, row = text.get_position()
        background = mesh.to_rgba(matrix.iat[int(row), int(column)])
        dark = relative_luminance(background) > 0.179
        text.set_color(style.ON_PALE if dark else "white")


def _label_recipes(ax: Axes, models: list[str]) -> None:
    """Tick seeds beside the cells and recipes further out, with a line between recipes."""
    step = 1 + len(models) // MANY
    seeds = [str(rows.seed(model)) for model in models[::step]]
    blocks = [(recipe, len(list(members))) for recipe, members in groupby(models, rows.recipe)]
    ends = np.cumsum([size for _, size in blocks])
    centres = [end - size / 2 for (_, size), end in zip(blocks, ends, strict=True)]
    names = [style.display(recipe) for recipe, _ in blocks]
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(centres, names)
        axis.set_ticks(np.arange(0, len(models), step) + 0.5, seeds, minor=True)
        # Two levels of labels from one axis: the recipe is the major tick, pushed outwards.
        axis.set_tick_params(which="major", length=0, pad=11)
        axis.set_tick_params(which="minor", length=0, pad=2, labelsize=5.5)
        axis.remove_overlapping_locs = False
    ax.tick_params(axis="x", rotation=0)
    for label in ax.get_yticklabels():
        label.set(rotation=90, va="center")
    for end in ends[:-1]:
        ax.axhline(end, color="white", linewidth=2)
        ax.axvline(end, color="white", linewidth=2)
