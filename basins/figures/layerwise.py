"""Barriers of one layer moved alone, of all below and of all above (SoK, operationalised: D.5)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from basins.figures import rows, style

QUANTITIES = {
    "layerwise barrier": "this layer",
    "barrier up to layer": "all up to it",
    "barrier from layer": "all from it on",
}
HATCHES = ("", "////")


@style.styled()
def draw(tables: Mapping[str, pd.DataFrame], *, aspect: str) -> Figure:
    """Draw bars by layer for a pair of models a panel; hatched, those of the other one held.

    Dashed and dotted lines are the barrier of all layers, and their interaction: that barrier less
    the sum of the layers' own. Reads `aspects/<name>`, made by `connectivity`; raises `UserError`
    where it has no such rows.
    """
    found = rows.select(tables, f"aspects/{aspect}", test="D5")
    bars = found.loc[found["quantity"].isin(QUANTITIES)]
    names = dict.fromkeys(bars.sort_values("x", kind="stable")["group"])
    colours = style.colours(QUANTITIES)
    pairs: dict[frozenset[str], list[str]] = {}
    for models in found["models"].unique():
        pairs.setdefault(frozenset(models.split(" + ")), []).append(models)

    figure = style.new(style.PAGE_WIDTH, 0.9 + 1.45 * -(-len(pairs) // 2))
    panels = figure.subplots(-(-len(pairs) // 2), min(2, len(pairs)), sharey=True, squeeze=False)
    width, at = 0.8 / (2 * len(QUANTITIES)), np.arange(len(names))
    for ax, orders in zip(panels.flat, pairs.values(), strict=False):
        for side, models in enumerate(orders):
            own = found.loc[found["models"] == models]
            for k, quantity in enumerate(QUANTITIES):
                value = own.loc[own["quantity"] == quantity].set_index("group")["value"]
                place = at + width * (2 * k + side - len(QUANTITIES) + 0.5)
                ax.bar(
                    place,
                    value.reindex(list(names)),
                    width,
                    color=colours[quantity],
                    hatch=HATCHES[side],
                    edgecolor="white",
                    linewidth=0.3,
                )
        own = found.loc[found["models"] == orders[0]].set_index("quantity")["value"]
        ax.axhline(own["barrier of all layers"], color="#333333", linestyle="--", linewidth=0.8)
        ax.axhline(own["interaction"], color="#333333", linestyle=":", linewidth=1)
        kind = found.loc[found["quantity"].eq("interaction") & found["models"].eq(orders[0])]
        first, second = orders[0].split(" + ")
        ax.set_title(f"{first} and {second} ({kind['group'].item()})")
        ax.set_xticks(at, [_short(name) for name in names])
    least = min(0.0, 1.1 * found.loc[found["quantity"] == "interaction", "value"].min())
    panels[0, 0].set_ylim(bottom=least)  # at last, since it fixes the top as well
    for ax in panels.flat[len(pairs) :]:
        ax.set_visible(False)
    for ax in panels[:, 0]:
        ax.set_ylabel(f"barrier above\nthe chord, {style.METRICS['loss']}")
    handles = [Patch(color=colours[name], label=label) for name, label in QUANTITIES.items()]
    handles += [
        Patch(facecolor="#999999", edgecolor="white", hatch=HATCHES[1], label="other one held"),
        Line2D([], [], color="#333333", linestyle="--", linewidth=0.8, label="all layers"),
        Line2D([], [], color="#333333", linestyle=":", linewidth=1, label="interaction"),
    ]
    style.legend(figure, handles)
    return figure


def title(tables: Mapping[str, pd.DataFrame], **_: object) -> str:
    """Say what is asked."""
    return "Barriers when only some layers move"


def caption(*, aspect: str) -> str:
    """Say what `draw` shows under the same options."""
    return (
        f"Barriers when only some layers move from one model to the other "
        f"({style.display(aspect)}): one layer, all up to it, or all from it on, the others held "
        "at the first model, hatched at the second. Dashed: all layers at once; dotted: how much "
        "of that the layers' own barriers do not add up to (first model held). Operationalised "
        "here after the SoK on loss landscapes (D.5)."
    )


def _short(layer: str) -> str:
    """Return the last parts of a layer's name that tell it from others: `layer 0`, `pooler`."""
    *_, before, last = ["", *layer.split(".")]
    return f"{before} {last}" if last.isdigit() else last
