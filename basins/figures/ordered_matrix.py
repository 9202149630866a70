"""The barriers between all models of several experiments, with near models side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn  # noqa: F401, it registers the colour maps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, FigureBase
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from basins.errors import UserError
from basins.figures import rows, style

STRIP = 0.07  # height of the strip relative to the matrix


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiments: Mapping[str, str],
    slice: str,
    eval_set: str = "test",
    measure: str = "barrier_linear",
    high: float = 0.2,
) -> Figure:
    """Draw a heat map for each experiment, on one scale, with a strip of a diagnostic above it.

    Models are in the order of the leaves of average linkage, so that clusters are blocks on the
    diagonal, and a model that is far from all others is a cross. Reads `barriers` and `probes`.

    Args:
        tables: rows of `results/` by the name of their table.
        experiments: keys of `connect` by the titles of their panels.
        slice: the slice of the probes whose accuracy is in the strip.
        eval_set: the evaluation set of the barriers.
        measure: which barrier.
        high: the upper end of the scale of barriers (nats); higher values have its last colour.

    Raises:
        UserError: a table has no such rows, or an experiment lacks a pair of its models.
    """
    columns = min(3, len(experiments))
    lines = -(-len(experiments) // columns)
    figure = style.new(style.PAGE_WIDTH, 0.5 + 2.05 * lines)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for ax, (name, experiment) in zip(panels, experiments.items(), strict=False):
        models, matrix = square(tables, experiment, eval_set, measure)
        heat(ax, matrix, strategies(tables, models, slice), high)
        ax.set_title(f"{name} (n = {len(models)})", pad=15)  # above the strip
    for ax in panels[len(experiments) :]:
        ax.set_axis_off()
    scales(figure, [*panels[: len(experiments)]], high, slice)
    return figure


def title(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiments: Mapping[str, str],
    eval_set: str = "test",
    measure: str = "barrier_linear",
    **_: object,
) -> str:
    """State for which models mean barriers are lowest and highest."""
    means = {
        name: float(matrix[np.triu_indices(len(matrix), 1)].mean())
        for name, experiment in experiments.items()
        for matrix in [square(tables, experiment, eval_set, measure)[1]]
    }
    least, most = (end(means, key=means.__getitem__) for end in (min, max))
    return (
        f"Mean barriers between models range from {means[least]:.2f} nats ({least}) to "
        f"{means[most]:.2f} ({most})"
    )


def caption(
    *,
    slice: str,
    eval_set: str = "test",
    measure: str = "barrier_linear",
    high: float = 0.2,
    **_: object,
) -> str:
    """Describe what `draw` shows with the same options."""
    return (
        f"The {style.DEFINITIONS[measure]} of the loss on {style.on(eval_set)} between all pairs "
        "of models, in the order of average linkage: clusters are light blocks on the diagonal, "
        "and a model that is far from all others is a dark cross. Above: the accuracy on "
        f"{style.on(slice)} of the same models, which is independent of the order. "
        f"The scale ends at {high:g} nats."
    )


def square(
    tables: Mapping[str, pd.DataFrame], experiment: str, eval_set: str, measure: str
) -> tuple[list[str], np.ndarray]:
    """Return the models of an experiment in the order of linkage, and their matrix [N, N]."""
    pairs = rows.select(
        tables,
        "barriers",
        experiment=experiment,
        path="linear",
        alignment="none",
        metric="loss",
        eval_set=eval_set,
    )
    models = sorted(
        {*pairs["model_a"], *pairs["model_b"]}, key=lambda m: (rows.recipe(m), rows.seed(m))
    )
    number = {model: k for k, model in enumerate(models)}
    first, second = ([number[m] for m in pairs[side]] for side in ("model_a", "model_b"))
    found = np.full((len(models), len(models)), np.nan)
    found[first, second] = found[second, first] = pairs[measure]
    np.fill_diagonal(found, 0)
    if np.isnan(found).any():
        raise UserError(f"{experiment} lacks a pair of its models; join all of them in connect")
    linkage = hierarchy.linkage(squareform(found), "average", optimal_ordering=True)
    order = hierarchy.leaves_list(linkage)
    return [models[k] for k in order], found[np.ix_(order, order)]


def strategies(
    tables: Mapping[str, pd.DataFrame], models: Sequence[str], slice_: str
) -> np.ndarray:
    """Return the accuracy of models [N] on a slice of the probes, or raise `UserError`."""
    known = rows.probed(tables, slice_, "accuracy").set_index("model")["value"]
    if missing := [model for model in models if model not in known.index]:
        raise UserError(f"probes have no {slice_!r} of {missing[0]}; probe its recipe")
    return known.loc[list(models)].to_numpy(float)


def heat(ax: Axes, matrix: np.ndarray, values: np.ndarray, high: float) -> None:
    """Draw a matrix [N, N] on `ax`, and above it a strip of `values` [N]."""
    ax.imshow(matrix, cmap="rocket_r", vmin=0, vmax=high, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    strip = ax.inset_axes((0, 1.015, 1, STRIP))
    strip.imshow(values[None], cmap="viridis", vmin=0, vmax=1, aspect="auto")
    strip.set(xticks=[], yticks=[])
    strip.grid(False)
    for spine in (*ax.spines.values(), *strip.spines.values()):
        spine.set_visible(False)


def scales(figure: FigureBase, panels: Sequence[Axes], high: float, slice_: str) -> None:
    """Add the colour bars of `heat` beside panels."""
    for cmap, end, label, side in (
        ("rocket_r", high, "barrier (nats)", "right"),
        ("viridis", 1.0, f"accuracy (%) on {style.on(slice_)} (strips)", "bottom"),
    ):
        bar = figure.colorbar(
            ScalarMappable(Normalize(0, end), cmap),
            ax=list(panels),
            location=side,
            shrink=0.8 if side == "right" else 0.4,
            aspect=35,
            pad=0.02,
            extend="max" if cmap == "rocket_r" else "neither",
        )
        bar.set_label(label)
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        if side == "bottom":
            style.in_percent(bar.ax.xaxis)
