"""Mode directedness on one page (SoK, operationalised: tests C1 to C6)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from basins.figures import rows, style
from basins.figures.aspect_convexity import picked, strip

NULLS = {"\nshuffled": "shuffled labels", "random": "random direction"}


@style.styled()
def draw(tables: Mapping[str, pd.DataFrame], *, aspect: str) -> Figure:
    """Draw a panel for each test that has rows: thin lines and points are models or pairs.

    Reads `aspects/<aspect>`. Raises `UserError` if it has no rows of these tests.
    """
    table = rows.select(tables, f"aspects/{aspect}", aspect="directedness")
    tests = list(dict.fromkeys(sorted(table["test"])))
    names = [*tests, "C5 joint"] if "C5" in tests else tests  # a separate panel for another unit
    names.sort()
    columns = min(4, len(names))
    lines = -(-len(names) // columns)
    figure = style.new(style.PAGE_WIDTH, 1.95 * lines)
    panels = dict(zip(names, figure.subplots(lines, columns, squeeze=False).ravel(), strict=False))
    for spare in figure.axes[len(names) :]:
        spare.remove()

    def models(test: str, quantity: str) -> list[pd.DataFrame]:
        own = table.loc[(table["test"] == test) & (table["quantity"] == quantity)]
        return [part.sort_values("x") for _, part in own.groupby("models", sort=False)]

    for test, ax in panels.items():
        if test == "C1":
            for own in models(test, "loss from the start"):
                ax.plot(own["x"], own["value"], color="C0", linewidth=0.6, alpha=0.6)
            ax.set(title="C1: from the start", xlabel="position on the line", ylabel="loss (nats)")
        elif test == "C2":
            sides = {"training": 0, "random walk": 1}
            strip(ax, {k: picked(table, test, "straightness", null=v) for k, v in sides.items()})
            ax.set(title="C2: trajectory", ylabel="straightness")
        elif test == "C3":
            many = table.loc[table["test"] == test, "x"].nunique() > 1
            for own in models(test, "rsi"):
                style_ = {"marker": "o", "linewidth": 0.6 if many else 0, "alpha": 0.6}
                ax.plot(own["x"], own["value"], color="C0", **style_)
            ax.axhline(0, **style.CHANCE)
            ax.set(title="C3: gradients", xlabel="step", ylabel="restricted secant")
        elif test == "C4":
            found = {"clusters": picked(table, test, "slope", null=0)}
            found |= {k: picked(table, test, "slope", group=null) for k, null in NULLS.items()}
            strip(ax, {name: thinned(values) for name, values in found.items()})
            ax.axhline(0, **style.CHANCE)
            ax.set(title="C4: directions", ylabel="slope (nats)")
        elif test == "C5":
            strip(ax, {"pairs": picked(table, test, "cosine")})
            ax.axhline(0, **style.CHANCE)
            ax.set(title="C5: task vectors", ylabel="cosine")
        elif test == "C5 joint":
            strip(ax, {"pairs": picked(table, "C5", "additivity")})
            ax.axhline(0, **style.CHANCE)
            ax.set(title="C5: both at once", ylabel="loss not additive (nats)")
        elif test == "C6":
            own = table.loc[table["test"] == test]
            far = own.loc[own["x"] == own["x"].max()]
            sides = {"the others": "recipe", "random direction": "random direction"}
            strip(ax, {k: picked(far, test, "asymmetry", group=g) for k, g in sides.items()})
            ax.axhline(0, **style.CHANCE)
            ax.set(title="C6: asymmetry", ylabel="towards less away (nats)")
    return figure


def title(tables: Mapping[str, pd.DataFrame], *, aspect: str) -> str:
    """State how often gradients point to the final weights, or the tests that have rows."""
    table = rows.select(tables, f"aspects/{aspect}", aspect="directedness")
    secants = picked(table, "C3", "rsi")
    if not len(secants):
        return f"Mode directedness by {', '.join(sorted(set(table['test'])))}"
    share = style.percent(float((secants > 0).mean()))
    straight = [picked(table, "C2", "straightness", null=null) for null in (0, 1)]
    beside = "; trajectories are {:.1f} times as straight as random walks"
    return f"The negative gradient points to the final weights at {share} of the checkpoints" + (
        beside.format(straight[0].mean() / straight[1].mean()) if all(map(len, straight)) else ""
    )


def caption(*, aspect: str) -> str:
    """Describe what `draw` shows with the same options."""
    return (
        "Is training directed, and do directions in weight space have a meaning? C1: the loss "
        "along the straight line from a model's initial to its final weights. C2: the straightness "
        "of trajectories, compared with random walks of the same step lengths (early checkpoints "
        "only). C3: above 0, the negative gradient points towards the final weights. C4: the slope "
        "of the loss on the diagnostic set along the direction between two clusters, with the sign "
        "predicted from the other half of the models, compared with directions of shuffled labels "
        "and random ones. C5: cosines of task vectors, and the effect of two together beyond the "
        "sum of their effects. C6: the loss towards the centroid of the other models less that in "
        "the opposite direction. Operationalised and tested here; SoK: On Finding Common Ground in "
        "Loss Landscapes has no experiments."
    )


def thinned(values: np.ndarray, most: int = 200) -> np.ndarray:
    """Return at most `most` of the values [n], evenly spaced by rank, including the extremes."""
    ranked = np.sort(values)
    return ranked[np.linspace(0, len(ranked) - 1, min(most, len(ranked))).round().astype(int)]
