"""How the models of each cluster generalise: a histogram per diagnostic slice (LCRGS)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from pydantic import Field

from basins.figures import rows, style
from basins.figures.strategy import name_of
from basins.statistics.seeds import SHARES

FEW = 30
"""Up to so many models, each is drawn as a dot."""


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiment: str,
    slices: Annotated[list[str], Field(min_length=1, max_length=6)],
    metric: str = "accuracy",
    measure: Literal["convexity_gap", "barrier_linear", "distance"] = "convexity_gap",
    bins: Annotated[int, Field(ge=2, le=100)] = 20,
) -> Figure:
    """Draw histograms of `metric` over models on each of `slices`, with stacked clusters.

    Reads `clusters` and `probes`.

    Args:
        tables: rows of `results/` by the name of their table.
        experiment: one of `connect` whose models are clustered.
        slices: the slices of probes, 1 to 6, each in a panel.
        metric: what the probes measured.
        measure: the measure that clusters come from.
        bins: the number of bars in a panel, 2 to 100.

    Raises:
        UserError: a table is missing or has no such rows.
    """
    found = rows.select(tables, "clusters", experiment=experiment, measure=measure)
    clusters = sorted(found["cluster"].unique())
    part = rows.part(tables, experiment, measure)
    names = [name_of(cluster, clusters, part) for cluster in clusters]
    colours = style.colours(names)
    columns = min(3, len(slices))
    lines = -(-len(slices) // columns)
    figure = style.new(min(2.25 * columns + 0.3, style.PAGE_WIDTH), 0.4 + 1.5 * lines)
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for ax, slice_ in zip(panels, slices, strict=False):
        points = found.merge(rows.probed(tables, slice_, metric), on="model")
        values = [points.loc[points["cluster"] == cluster, "value"] for cluster in clusters]
        whole = (0.0, 1.0) if metric in SHARES else (points["value"].min(), points["value"].max())
        edges = np.linspace(*whole, bins + 1)
        if len(points) <= FEW:
            _dots(ax, values, edges, {name: colours[name] for name in names})
        else:
            ax.hist(values, edges, stacked=True, color=[colours[n] for n in names], label=names)
        margin = 0.03 * (whole[1] - whole[0])
        ax.set_xlim(whole[0] - margin, whole[1] + margin)
        ax.set_title(style.set_title(slice_))
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        if metric in SHARES:
            style.in_percent(ax.xaxis)
    for ax in panels[len(slices) :]:
        ax.set_axis_off()
    figure.supxlabel(style.quantity(metric), fontsize=7.5)
    figure.supylabel("models", fontsize=7.5)
    style.legend(figure, [Patch(color=colours[name], label=name) for name in names])
    return figure


def _dots(
    ax: Axes, values: Sequence[pd.Series], edges: np.ndarray, colours: Mapping[str, str]
) -> None:
    """Draw stacked dots, one for each model, in its bin."""
    height = np.zeros(len(edges) - 1)
    for own, (name, colour) in zip(values, colours.items(), strict=True):
        places = np.clip(np.digitize(np.sort(own), edges) - 1, 0, len(height) - 1)
        dots = []
        for place in places:
            height[place] += 1
            dots.append(((edges[place] + edges[place + 1]) / 2, height[place]))
        ax.plot(*np.array(dots).reshape(-1, 2).T, "o", color=colour, markersize=4.5, label=name)
    ax.set_ylim(0.3, max(3.0, height.max()) + 0.7)


def title(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiment: str,
    slices: Sequence[str],
    metric: str = "accuracy",
    measure: str = "convexity_gap",
    **_: object,
) -> str:
    """State the range of the models on the first slice."""
    found = rows.select(tables, "clusters", experiment=experiment, measure=measure)
    known = found.merge(rows.probed(tables, slices[0], metric), on="model")
    values = known["value"].to_numpy(float)
    write = style.percent if metric in SHARES else "{:.2f}".format
    low, high = (write(float(value)) for value in (values.min(), values.max()))
    reached = f"{low} to {high} {style.display(metric)}"
    return f"{len(values)} models reach {reached} on {style.on(slices[0])}"


def caption(
    *,
    experiment: str,
    slices: list[str],
    metric: str = "accuracy",
    measure: str = "convexity_gap",
    **_: object,
) -> str:
    """Describe what `draw` shows with the same options."""
    return (
        f"Histogram of the {style.display(metric)} of {style.display(experiment)} on "
        f"{style.joined(map(style.on, slices))}, by the two groups into which their "
        f"{style.display(measure)} in distribution divides them best, whether or not a test shows "
        "clusters. After LCRGS, histograms."
    )
