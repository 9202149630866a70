"""The merge tree of models and their barriers (SoK, operationalised: D.1)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from basins.errors import UserError
from basins.figures import rows, style


@style.styled()
def draw(tables: Mapping[str, pd.DataFrame], *, aspect: str) -> Figure:
    """Draw the dendrogram of single linkage beside the heat map of barriers, in its order.

    Bars meet at the height of their merge. Within the grey band, twice the noise, a merge may be of
    models whose barrier is 0. Reads `aspects/<name>`, made by `connectivity`; raises `UserError`
    where it has no such rows or lacks a pair.
    """
    found = rows.select(tables, f"aspects/{aspect}", test="D1", null=0)
    table = {f"aspects/{aspect}": found}
    pairs = rows.select(table, f"aspects/{aspect}", quantity="barrier")
    ends = pairs["models"].str.split(" + ", regex=False, expand=True)
    models = sorted({*ends[0], *ends[1]}, key=lambda model: (rows.recipe(model), rows.seed(model)))
    number = {model: k for k, model in enumerate(models)}
    first, second = (ends[side].map(number).to_numpy() for side in (0, 1))
    square = np.full((len(models), len(models)), np.nan)
    square[first, second] = square[second, first] = pairs["value"]
    np.fill_diagonal(square, 0)
    if np.isnan(square).any():
        raise UserError(f"aspects/{aspect} lacks a pair of models; join all of them in connect")
    (noise,) = rows.select(table, f"aspects/{aspect}", quantity="noise")["value"]
    linkage = hierarchy.linkage(squareform(square), "single")

    figure = style.new(style.COLUMN_WIDTH + 0.9, 2.7)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.6))
    tree = hierarchy.dendrogram(linkage, no_plot=True)
    for across, up in zip(tree["dcoord"], tree["icoord"], strict=True):
        left.plot(across, np.array(up) / 10, color="#333333", linewidth=1)
    left.axvspan(0, 2 * noise, color="#888888", alpha=0.3, linewidth=0)
    left.set(ylim=(len(models), 0), xlabel="merge height (nats)", yticks=[])
    left.set_xlim(max(linkage[:, 2].max(), 2 * noise) * 1.05, 0)
    order = tree["leaves"]
    ordered = [models[k] for k in order]
    figure.set_layout_engine("none")
    sns.heatmap(square[np.ix_(order, order)], cmap="rocket_r", vmin=0, cbar=False, ax=right)
    figure.set_layout_engine("constrained")

    labels = rows.called(ordered)
    alone = labels[0].isdigit()
    every = -(-len(models) // 40)
    shown = np.arange(0, len(models), every)
    for axis in (right.xaxis, right.yaxis):
        size = 5.5 if len(models) > 16 else 7
        axis.set_ticks(shown + 0.5, [labels[k] for k in shown], size=size)
    right.tick_params(axis="y", rotation=0, length=0)
    right.tick_params(axis="x", rotation=0 if alone else 90, length=0)
    right.set(xlabel="model (seed)" if alone else "model", ylabel="")
    bar = figure.colorbar(right.collections[0], ax=right, location="right", aspect=30, pad=0.03)
    bar.set_label(f"{style.DEFINITIONS['barrier_linear']}, {style.quantity('loss')}", fontsize=7)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure


def title(tables: Mapping[str, pd.DataFrame], *, aspect: str) -> str:
    """State how many models have a barrier to another within the noise."""
    found = rows.select(tables, f"aspects/{aspect}", test="D1", null=0)
    (noise,) = found.loc[found["quantity"] == "noise", "value"]
    pairs = found.loc[found["quantity"] == "barrier"]
    ends = pairs["models"].str.split(" + ", regex=False, expand=True)
    near = pairs["value"] <= 2 * noise
    joined, models = (len({*part[0], *part[1]}) for part in (ends.loc[near], ends))
    return f"{joined} of {models} models have a barrier to another model within twice the noise"


def caption(*, aspect: str) -> str:
    """Describe what `draw` shows with the same options."""
    return (
        "Which models are connected by low loss. Right: the barrier of the loss between all pairs "
        "of models. Left: the merge tree, single linkage of these barriers; two models are "
        "connected, possibly through others, at the height where their bars meet. Merges in the "
        "grey band (twice the simultaneous noise of all barriers) may be of models without a "
        "barrier. Operationalised here after the SoK on loss landscapes (D.1)."
    )
