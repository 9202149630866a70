"""Barriers of one layer alone, of all below and of all above (SoK, operationalised: D.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from basins.figures import rows, style

QUANTITIES = {
    "layerwise barrier": "one layer",
    "barrier up to layer": "all up to it",
    "barrier from layer": "all from it on",
}
ALL: dict[str, Any] = {"color": "#333333", "linestyle": "--", "linewidth": 0.8, "zorder": 1}
INTERACTION: dict[str, Any] = {"color": "#333333", "linestyle": ":", "linewidth": 1, "zorder": 1}


@style.styled()
def draw(tables: Mapping[str, pd.DataFrame], *, aspect: str) -> Figure:
    """Draw a dot per layer, in a panel per pair of models; hollow if the second model is held.

    Dashed and dotted lines are the barrier of all layers and their interaction: this barrier less
    the sum of those of single layers. Reads `aspects/<name>`, made by `connectivity`; raises
    `UserError` where it has no such rows.
    """
    found = rows.select(tables, f"aspects/{aspect}", test="D5")
    dots = found.loc[found["quantity"].isin(QUANTITIES)]
    names = list(dict.fromkeys(dots.sort_values("x", kind="stable")["group"]))
    colours, markers = style.colours(QUANTITIES), style.markers(QUANTITIES)
    pairs: dict[frozenset[str], list[str]] = {}
    for models in found["models"].unique():
        pairs.setdefault(frozenset(models.split(" + ")), []).append(models)

    lines = -(-len(pairs) // 2)
    figure = style.new(style.PAGE_WIDTH, 0.6 + (0.3 + 0.24 * len(names)) * lines)
    panels = figure.subplots(lines, min(2, len(pairs)), sharex=True, sharey=True, squeeze=False)
    for ax, orders in zip(panels.flat, pairs.values(), strict=False):
        for side, models in enumerate(orders):
            for k, quantity in enumerate(QUANTITIES):
                own = dots.loc[(dots["models"] == models) & (dots["quantity"] == quantity)]
                look: dict[str, Any] = {
                    "color": colours[quantity],
                    "marker": markers[quantity],
                    "markersize": 4,
                }
                look |= {"markeredgewidth": 0.9, "linestyle": "", "clip_on": False}
                look |= {"markerfacecolor": "none"} if side else {}
                at = own["group"].map(names.index) + 0.24 * (k - 1) + 0.06 * (2 * side - 1)
                ax.plot(own["value"], at, label=f"{quantity}, {models}", **look)
        own = found.loc[found["models"] == orders[0]].set_index("quantity")
        ax.axvline(own.loc["barrier of all layers", "value"], **ALL)
        ax.axvline(own.loc["interaction", "value"], **INTERACTION)
        both = " and ".join(rows.called(orders[0].split(" + ")))
        ax.set_title(f"models {both} ({own.loc['interaction', 'group']} clusters)")
        ax.set_yticks(range(len(names)), [_short(name) for name in names])
        ax.tick_params(axis="y", length=0)
        ax.locator_params(axis="x", nbins=6)
    panels[0, 0].set_ylim(len(names) - 0.5, -0.5)
    for ax in panels.flat[len(pairs) :]:
        ax.set_visible(False)
    figure.supxlabel(
        f"{style.DEFINITIONS['barrier_linear']}, {style.quantity('loss')}", fontsize=7.5
    )
    handles = [
        Line2D([], [], color=colours[k], marker=markers[k], markersize=4, linestyle="", label=label)
        for k, label in QUANTITIES.items()
    ]
    hollow: dict[str, Any] = {
        "marker": "o",
        "color": "#666666",
        "markerfacecolor": "none",
        "markeredgewidth": 0.9,
    }
    handles += [
        Line2D([], [], markersize=4, linestyle="", label="second model held", **hollow),
        Line2D([], [], label="all layers", **ALL),
        Line2D([], [], label="interaction", **INTERACTION),
    ]
    style.legend(figure, handles)
    return figure


def title(tables: Mapping[str, pd.DataFrame], *, aspect: str) -> str:
    """State the largest barriers of one layer and of all layers."""
    found = rows.select(tables, f"aspects/{aspect}", test="D5")
    one, whole = (
        found.loc[found["quantity"] == quantity, "value"].max()
        for quantity in ("layerwise barrier", "barrier of all layers")
    )
    return f"One layer alone has a barrier of at most {one:.2g} nats; all together, {whole:.2g}"


def caption(*, aspect: str) -> str:
    """Describe what `draw` shows with the same options."""
    return (
        "Barriers when only some layers are interpolated between two models: one layer, all up to "
        "it, or all from it on. The others are held at the first model; hollow: at the second. "
        "Dashed: all layers at once; dotted: the interaction, that is this barrier less the sum of "
        "those of single layers (first model held). Operationalised here after the SoK on loss "
        "landscapes (D.5)."
    )


def _short(layer: str) -> str:
    """Return the last parts of a layer's name that identify it: `layer 0`, `pooler`."""
    *_, before, last = ["", *layer.split(".")]
    return f"{before} {last}" if last.isdigit() else last
