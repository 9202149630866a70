"""Does sharpness predict how a model generalises? A point per model (LCRGS, section 4.7)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from basins.errors import UserError
from basins.figures import rows, style
from basins.statistics import association
from basins.statistics.seeds import SHARES


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    sharpness: str,
    diagnostic: str,
    slice: str,
    metric: str = "accuracy",
) -> Figure:
    """Draw `metric` on a slice of a diagnostic against the sharpness of each model, by recipe.

    Reads `sharpness/<name>` and `probes`.

    Args:
        tables: rows of `results/` by the name of their table.
        sharpness: one of `sharpness` in the params.
        diagnostic: the diagnostic of the probe.
        slice: the part of the diagnostic that is drawn.
        metric: what the probe measured.

    Raises:
        UserError: a table is missing or has no such rows, or the two have no model in common.
    """
    measured = rows.select(tables, f"sharpness/{sharpness}")
    probed = rows.select(tables, "probes", diagnostic=diagnostic, slice=slice, metric=metric)
    points = measured.merge(probed[["recipe", "seed", "value"]], on=["recipe", "seed"])
    if points.empty:
        raise UserError(
            f"sharpness/{sharpness} and the {diagnostic} probe have no model in common; "
            "measure the same recipe"
        )
    recipes = list(dict.fromkeys(points["recipe"]))
    colours, markers = style.colours(recipes), style.markers(recipes)

    figure = style.new(style.COLUMN_WIDTH, 2.4)
    ax = figure.subplots()
    for recipe in recipes:
        own = points.loc[points["recipe"] == recipe]
        ax.plot(
            own["sharpness"],
            own["value"],
            linestyle="",
            marker=markers[recipe],
            color=colours[recipe],
            alpha=0.7,
            label=recipe,
        )
    (epsilon,) = points["epsilon"].unique()
    ax.set_xlabel(f"sharpness (%), ε = {_power(epsilon)}\nr = {_correlation(points)}")
    ax.set_ylabel(f"{style.quantity(metric)} on\n{style.set_title(slice)}")
    ax.margins(x=0.08)
    ax.locator_params(axis="x", nbins=6)
    if metric in SHARES:
        ax.set_ylim(-0.02, 1.02)
        style.in_percent(ax.yaxis)
    if len(recipes) > 1:
        keys = [
            Line2D(
                [], [], linestyle="", marker=markers[r], color=colours[r], label=style.display(r)
            )
            for r in recipes
        ]
        style.legend(figure, keys)
    return figure


def title(
    tables: Mapping[str, pd.DataFrame],
    *,
    sharpness: str,
    diagnostic: str,
    slice: str,
    metric: str = "accuracy",
) -> str:
    """State the correlation of sharpness with the slice."""
    measured = rows.select(tables, f"sharpness/{sharpness}")
    probed = rows.select(tables, "probes", diagnostic=diagnostic, slice=slice, metric=metric)
    points = measured.merge(probed[["recipe", "seed", "value"]], on=["recipe", "seed"])
    told = _correlation(points)
    return f"Sharpness and {style.display(metric)} on {style.on(slice)}: r = {told}"


def _correlation(points: pd.DataFrame) -> str:
    """Return Pearson's r over models with its 95 % interval, if there is one."""
    arrays = [points[name].to_numpy(float) for name in ("sharpness", "value")]
    low, high = association.interval(association.pearson, arrays, 0.95)
    told = f"{float(association.pearson(*arrays)):.2f}"
    told += f" [{low:.2f}, {high:.2f}]" if np.isfinite(low) else f", n = {len(points)}"
    return told.replace("-", "−")


def _power(value: float) -> str:
    """Return a number as a power of ten if it is one: 10⁻⁵."""
    mantissa, _, exponent = f"{value:e}".partition("e")
    if float(mantissa) != 1:
        return f"{value:g}"
    return "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def caption(*, sharpness: str, diagnostic: str, slice: str, metric: str = "accuracy") -> str:
    """Describe what `draw` shows with the same options."""
    return (
        f"{style.sentence(metric)} on {style.on(slice)}, against sharpness, the rise "
        f"of the loss in a small box around the model ({style.display(sharpness)}): 100 "
        "(max L - L(w)) / (1 + L(w)), where no weight changes by more than "
        "ε (|w| + 1). Points: single models. After LCRGS, section 4.7."
    )
