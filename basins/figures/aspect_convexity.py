"""Mode convexity on one page (SoK, operationalised: tests A1 to A5)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from basins.figures import rows, style

KINDS = ("within", "between")
PLACES = ("end", "midpoint", "centroid")


@style.styled()
def draw(tables: Mapping[str, pd.DataFrame], *, aspect: str) -> Figure:
    """Draw a panel for each test: points are pairs, sets or models, bars their means.

    Reads `aspects/<aspect>`. Raises `UserError` if it has no rows of these tests.
    """
    table = rows.select(tables, f"aspects/{aspect}", aspect="convexity")
    colours = style.colours(KINDS)

    def kinds(test: str, quantity: str) -> dict[str, np.ndarray]:
        return {group: picked(table, test, quantity, group=group) for group in KINDS}

    figure = style.new(style.PAGE_WIDTH, 3.9)
    panels = figure.subplots(2, 3).ravel()
    strip(panels[0], kinds("A1", "barrier_linear"), colours)
    panels[0].set(title="A1: straight paths", ylabel="barrier (nats)")

    jensen = table.loc[table["quantity"] == "jensen"]
    for shift, (group, colour) in zip((-0.12, 0.12), colours.items(), strict=True):
        own = jensen.loc[jensen["group"] == group]
        panels[1].plot(own["x"] + shift, own["value"], "o", color=colour, alpha=0.35, markersize=2)
        means = own.groupby("x")["value"].mean()
        panels[1].plot(means.index, means, color=colour, marker="_", markersize=7, label=group)
    panels[1].set(title="A2: Jensen's inequality", xlabel="models mixed", ylabel="J (nats)")
    panels[1].legend()

    gains = {"soup": "soup gain", "ensemble": "ensemble gain"}
    size = table["models"].str.count(r"\+")
    largest = size.groupby([table["test"], table["group"], table["x"]]).transform("max")
    whole = table.loc[size == largest]  # not those with one model left out
    strip(panels[2], {name: picked(whole, "A3", q) for name, q in gains.items()})
    panels[2].set(title="A3: soups and ensembles", ylabel="gain (nats)")

    strip(panels[3], kinds("A4", "star barrier"), colours)
    panels[3].set(title="A4: from the centroid", ylabel="barrier (nats)")
    for ax, quantity, label in (
        (panels[4], "top eigenvalue", "largest eigenvalue"),
        (panels[5], "radius", "radius (filter norms)"),
    ):
        test = "A5"
        strip(ax, {p: picked(table, test, f"{quantity}, {p}") for p in PLACES})
        ax.set(title=f"A5: {quantity}", ylabel=label)
    for ax in panels[:4]:
        ax.axhline(0, **style.CHANCE, zorder=1)
    return figure


def title(tables: Mapping[str, pd.DataFrame], *, aspect: str) -> str:
    """State the mean barrier of A1 over all pairs, or the tests that have rows."""
    table = rows.select(tables, f"aspects/{aspect}", aspect="convexity")
    barriers = picked(table, "A1", "barrier_linear")
    if not len(barriers):
        return f"Mode convexity by {', '.join(sorted(set(table['test'])))}"
    return f"Barriers on straight paths average {barriers.mean():.2g} nats over all pairs of models"


def caption(*, aspect: str) -> str:
    """Describe what `draw` shows with the same options."""
    return (
        "Is the loss convex within a mode? A1: the barrier on the straight path between two "
        "models. A2: the Jensen gap J, which is the loss of a random mixture of models less the "
        "mixture of their losses; J > 0 means that the loss is not convex. A3: by how much the "
        "mean of weights (soup) and of probabilities (ensemble) lowers the loss below the mean of "
        "a cluster's models. A4: the barrier between a cluster's centroid and its models (between: "
        "the centroid of all models). A5: the largest eigenvalue of the Hessian, and how far along "
        "random directions the loss stays low, relative to the norms of filters, which are smaller "
        "at means. Within: models of one group of the best division by gaps, whether or not a test "
        "shows clusters; bars: means. The four aspects of SoK: On Finding Common Ground in Loss "
        "Landscapes are operationalised and tested here."
    )


def picked(table: pd.DataFrame, test: str, quantity: str, **equal: object) -> np.ndarray:
    """Return the values [n] of a test's quantity, possibly none."""
    for column, value in {"test": test, "quantity": quantity, **equal}.items():
        table = table.loc[table[column] == value]
    return table["value"].dropna().to_numpy(float)


def strip(
    ax: Axes, columns: Mapping[str, np.ndarray], colours: Mapping[str, str] | None = None
) -> None:
    """Draw a column of points for each group of values [n], and a bar at its mean."""
    shown = {name: values for name, values in columns.items() if len(values)}
    colours = colours or style.colours(columns)
    for place, (name, values) in enumerate(shown.items()):
        # Spread by rank of value: reproducible, and no point hides another. A sort that is not
        # stable orders equal values as the processor's instructions happen to.
        ranks = np.argsort(np.argsort(values, kind="stable"))
        spread = (ranks * 0.618) % 1 - 0.5
        ax.plot(place + 0.4 * spread, values, "o", color=colours[name], alpha=0.5, markersize=2.2)
        ax.hlines(values.mean(), place - 0.3, place + 0.3, color="#222222", linewidth=1.2)
    ax.set_xticks(range(len(shown)), [name.replace(" ", "\n") for name in shown])
    ax.set_xlim(-0.6, max(len(shown), 1) - 0.4)
    ax.grid(visible=False, axis="x")
