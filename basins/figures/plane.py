"""Loss over planes through models, with equal scales on both axes (LCRGS, section 4.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from matplotlib.tri import (
    CubicTriInterpolator,
    Triangulation,
    TriContourSet,
    UniformTriRefiner,
)
from pydantic import Field

from basins.figures import rows, style

COLOURS = 20
"""Approximate number of colour levels; their bounds are round numbers."""

PALETTE = {"loss": "viridis_r", "accuracy": "viridis"}
"""Dark colours are worse for both metrics."""

Names = Annotated[list[str], Field(min_length=1)]
Directions = Literal["models", "random", "hessian"]

SPANNED = {
    "models": "",
    "random": " through fewer than three models, spanned by random directions from the first that "
    "are normalised by filter (Li et al. 2018)",
    "hessian": " through fewer than three models, spanned by the directions from the first in "
    "which the loss curves most, the leading eigenvectors of its Hessian (Yao et al. 2020)",
}
"""Descriptions of the directions that span a plane, for captions."""


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    planes: Names,
    eval_sets: Names,
    metric: Literal["loss", "accuracy"] = "loss",
    directions: Directions = "models",
) -> Figure:
    """Draw `metric` over each of `planes` (columns) on each of `eval_sets` (rows).

    Reads `plane/<name>`. Both axes are Euclidean distances between weights, with the same unit. The
    planes of a row share one scale. It ends at the worst value within the triangles of three
    models, or halfway along other directions; worse values beyond have its last colour. Dots are
    measured points, with cubic interpolation between them. `directions` is how the planes are
    spanned, as stated in the caption.

    Raises `UserError` if the tables have no such rows.
    """
    width = min(style.PAGE_WIDTH, 0.75 + 2.5 * len(planes))
    figure = style.new(width, 0.3 + 2.0 * len(eval_sets))
    panels = figure.subplots(len(eval_sets), len(planes), squeeze=False)
    for eval_set, line in zip(eval_sets, panels, strict=True):
        found = [rows.select(tables, f"plane/{plane}", eval_set=eval_set) for plane in planes]
        levels = _levels(found, metric)
        for plane, ax in zip(found, line, strict=True):
            drawn = _contours(ax, plane, metric, levels)
            _paths(ax, plane.dropna(subset="model"))
            _mark(ax, plane.dropna(subset="model"))
        bar = figure.colorbar(drawn, ax=line, label=style.quantity(metric), pad=0.01)
        bar.ax.tick_params(length=0)
        if metric == "accuracy":
            style.in_percent(bar.ax.yaxis)
        line[0].set_ylabel(style.set_title(eval_set))
    for plane, ax in zip(planes if len(planes) > 1 else (), panels[0], strict=False):
        ax.set_title(style.display(plane))
    figure.supxlabel("distance between weights", fontsize=7.5)
    return figure


def title(
    tables: Mapping[str, pd.DataFrame],
    *,
    planes: Sequence[str],
    eval_sets: Sequence[str],
    metric: str = "loss",
    directions: Directions = "models",
    **_: object,
) -> str:
    """State the worst value between or around the models on each set, and the mean at them."""
    worst, rises, write = max, "rises", "{:.2f} nats".format
    if metric == "accuracy":
        worst, rises, write = min, "falls", style.percent
    plane = rows.select(tables, f"plane/{planes[0]}")
    point = len({*plane["model"].dropna()}) == 1
    at = "the model" if point else "the models"
    said = []
    for eval_set in eval_sets:
        own = plane.loc[plane["eval_set"] == eval_set]
        between = write(worst(own.loc[_between(own), metric]))
        models = write(own.loc[own["model"].notna(), metric].mean())
        said.append(f"{between} on {style.on(eval_set)} ({models} at {at})")
    where = "between models" if directions == "models" else f"around {at}"
    return f"The {metric} {where} {rises} to {', '.join(said)}"


def caption(
    *,
    planes: Sequence[str],
    eval_sets: Sequence[str],
    metric: str = "loss",
    directions: Directions = "models",
) -> str:
    """Describe what `draw` shows with the same options."""
    worst = "highest loss" if metric == "loss" else "lowest accuracy"
    shown = style.joined(map(style.on, eval_sets))
    if directions != "models":
        return (
            f"{style.sentence(metric)} over planes{SPANNED[directions]}, on {shown}. Both axes are "
            "Euclidean distances between weights; crosses: models; dots: measured points, with "
            "cubic interpolation between them. The planes of a row share one scale, which ends at "
            f"the {worst} halfway to their edges; values beyond have its last colour."
        )
    return (
        f"{style.sentence(metric)} over planes through three models, on {shown}. "
        "Both axes are Euclidean distances between weights, so that lengths and angles are "
        "correct; crosses: the models; dashed: the straight paths between them; squares: the "
        "mean of two models' weights, diamond: that of all three (uniform soups); dots: measured "
        "points, with cubic interpolation between them. The planes of a row share one scale, which "
        f"ends at the {worst} within their triangles; values beyond have its last colour. "
        "After LCRGS, section 4.2."
    )


def _levels(planes: Sequence[pd.DataFrame], metric: str) -> np.ndarray:
    """Return the bounds of the colours, from the best value to the worst between the models."""
    finite = [plane.loc[np.isfinite(plane[metric])] for plane in planes]
    values = pd.concat(finite)[metric].to_numpy(float)
    between = pd.concat([plane.loc[_between(plane)] for plane in finite])[metric].to_numpy(float)
    low, high = (values, between) if metric == "loss" else (between, values)
    scale = MaxNLocator(COLOURS, steps=(1, 2, 2.5, 5, 10))
    return np.asarray(scale.tick_values(float(low.min()), float(high.max())))


def _between(plane: pd.DataFrame) -> np.ndarray:
    """Return which points lie within the models' triangle, or halfway along other directions."""
    u, v = (plane[axis].to_numpy(float) for axis in "uv")
    count = len(set(plane["model"].dropna()))
    if count == 3:
        return (np.minimum(u, v) >= 0) & (u + v < 1 + 1e-6)
    along = np.abs(u) <= 0.5 if count == 1 else (u >= 0) & (u <= 1)
    return along & (np.abs(v) <= 0.5)


def _contours(ax: Axes, plane: pd.DataFrame, metric: str, levels: np.ndarray) -> TriContourSet:
    u, v, values = (plane[column].to_numpy(float) for column in ("u", "v", metric))
    # Neighbours of a node on the lattice, independent of the angles of the plane.
    lattice = Triangulation(u + v / 2, v * 3**0.5 / 2)
    flat = Triangulation(plane["x"], plane["y"], lattice.triangles)
    known = np.isfinite(values)
    flat.set_mask(~known[flat.triangles].all(axis=1))
    least, most = values[known].min(), values[known].max()
    values = np.where(known, values, most)  # only at triangles that are not drawn
    smooth = CubicTriInterpolator(flat, values, kind="geom")
    fine, values = UniformTriRefiner(flat).refine_field(values, smooth, subdiv=2)
    values = values.clip(least, most)  # interpolation must not exceed measured values
    # Rounding of the levels may exclude the best value, which would leave a hole.
    best = {"min": levels[0]} if metric == "loss" else {"max": levels[-1]}
    beyond: Literal["max", "min"] = "max" if metric == "loss" else "min"
    palette = matplotlib.colormaps[PALETTE[metric]]
    values = values.clip(**best)
    drawn = ax.tricontourf(fine, values, levels=levels, cmap=palette, extend=beyond)
    ax.tricontour(fine, values, levels=levels[::2], colors="white", linewidths=0.3, alpha=0.6)
    ax.plot(plane["x"], plane["y"], ".", color="black", markersize=2.4, alpha=0.6, label="nodes")
    ax.set_aspect("equal", adjustable="datalim")
    ax.grid(False)
    ax.margins(0)
    return drawn


def _paths(ax: Axes, models: pd.DataFrame) -> None:
    """Draw the straight paths between the models, their midpoints, and the mean of all models."""
    corners = models[["x", "y"]].to_numpy()
    if len(corners) == 1:
        return
    around = corners[[*range(len(corners)), 0]]
    ax.plot(
        *around.T, linestyle=(0, (4, 3)), color="black", linewidth=0.7, alpha=0.8, label="paths"
    )
    look = {"linestyle": "", "color": "white", "markeredgecolor": "black", "markersize": 4}
    ax.plot(*((around[1:] + around[:-1]) / 2).T, marker="s", label="soups of two", **look)
    if len(corners) == 3:
        ax.plot(*corners.mean(0), marker="D", label="soup", **look)


def _mark(ax: Axes, models: pd.DataFrame) -> None:
    edge = withStroke(linewidth=1.5, foreground="white")
    names = rows.called([*models["model"]])
    for model, name, x, y in zip(models["model"], names, models["x"], models["y"], strict=True):
        ax.plot(x, y, "+", color="black", markersize=6, mew=1.2, path_effects=[edge], label=model)
        ax.annotate(
            f"seed {name}" if name.isdigit() else name,
            (x, y),
            (0, 4),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=6.5,
            path_effects=[edge],
        )
