"""Mode determinism on one page, the instability curve first (SoK, operationalised: B1 to B4)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from basins.errors import UserError
from basins.figures import rows, style
from basins.figures.aspect_convexity import picked, strip
from basins.statistics.seeds import jackknife

SHARED = ("same head", "same order", "both differ")


@style.styled()
def draw(tables: Mapping[str, pd.DataFrame], *, aspect: str) -> Figure:
    """Draw a panel for each test that has rows: points are pairs of models.

    Reads `aspects/<aspect>`. Raises `UserError` if it has no rows of these tests.
    """
    table = rows.select(tables, f"aspects/{aspect}", aspect="determinism")
    drawn = {"B1": _instability, "B2": _factors, "B3": _early, "B4": _perturbed}
    tests = [test for test in drawn if test in set(table["test"])]
    if not tests:
        raise UserError(f"aspects/{aspect} has no rows of B1 to B4; add recipes that fork")
    figure = style.new(style.PAGE_WIDTH if len(tests) > 1 else style.COLUMN_WIDTH, 2.4)
    for test, ax in zip(tests, figure.subplots(1, len(tests), squeeze=False)[0], strict=True):
        drawn[test](table, ax)
    return figure


def title(tables: Mapping[str, pd.DataFrame], *, aspect: str) -> str:
    """State barriers by what models share or by the fork, or the tests that have rows."""
    table = rows.select(tables, f"aspects/{aspect}", aspect="determinism")
    barriers = {group: picked(table, "B2", "barrier", group=group) for group in SHARED}
    if all(map(len, barriers.values())):
        head, order, neither = (f"{values.mean():.2g}" for values in barriers.values())
        return (
            f"Barriers average {head} nats between models of one initial head, {order} of one "
            f"order of the rows, {neither} of neither"
        )
    forks = by_fork(table)
    if len(forks):
        ends = [f"{forks['mean'].iloc[k]:.2g} nats after step {forks.index[k]:g}" for k in (0, -1)]
        return f"Runs that fork during training end with a barrier of {ends[0]}, {ends[1]}"
    return f"Mode determinism by {', '.join(sorted(set(table['test'])))}"


def caption(*, aspect: str) -> str:
    """Describe what `draw` shows with the same options."""
    return (
        "What determines the mode in which training ends? B1: the barrier between runs of one "
        "parent that see different batches after a step; bars: means, with 95 % intervals over "
        "parents. B2: barriers by what two models share. B3: how well "
        "weights after a step predict the final cluster (dotted: guessing). B4: the barrier "
        "between models with and without a small perturbation of their weights; 0 is a rerun. "
        "Panels without rows are left out. Operationalised and tested here; SoK: On Finding Common "
        "Ground in Loss Landscapes has no experiments."
    )


def by_fork(table: pd.DataFrame) -> pd.DataFrame:
    """Return `mean, ci_low, ci_high` over parents of the barriers of B1 (nats), by step."""
    own = table.loc[table["quantity"] == "instability"]
    found = {
        step: jackknife(part["value"].to_numpy(), [part["group"].to_numpy()], 0.95, (0, np.inf))
        for step, part in own.groupby("x")
    }
    return pd.DataFrame.from_dict(found, "index")


def _series(table: pd.DataFrame, quantity: str) -> pd.Series:
    own = table.loc[table["quantity"] == quantity].sort_values("x")
    return own.set_index("x")["value"]


def _instability(table: pd.DataFrame, ax: Axes) -> None:
    pairs, curve = table.loc[table["quantity"] == "instability"], by_fork(table)
    ax.plot(pairs["x"], pairs["value"], "o", color="C0", alpha=0.35, markersize=2.2)
    bars = (curve["mean"] - curve["ci_low"], curve["ci_high"] - curve["mean"])
    ax.errorbar(curve.index, curve["mean"], bars, fmt="_", markersize=9, markeredgewidth=1.5)
    ax.margins(x=0.1)
    ax.set_xticks(curve.index)
    ax.set(title="B1: instability", xlabel="step of the fork", ylabel="barrier (nats)")
    top = ax.get_ylim()[1]
    ax.set_ylim(-0.04 * top, top)  # barriers of 0 are seen


def _factors(table: pd.DataFrame, ax: Axes) -> None:
    strip(ax, {group: picked(table, "B2", "barrier", group=group) for group in SHARED})
    ax.set(title="B2: head and order", ylabel="barrier (nats)")


def _early(table: pd.DataFrame, ax: Axes) -> None:
    own = table.loc[table["quantity"].str.startswith("auc, ")]
    everyone = own.loc[own["models"].str.len() == own["models"].str.len().max()]
    quantities = list(dict.fromkeys(everyone["quantity"]))
    colours, markers = style.colours(quantities), style.markers(quantities)
    for quantity in quantities:
        curve = _series(everyone, quantity)
        label = style.display(quantity.partition(", ")[2])
        ax.plot(curve.index, curve, color=colours[quantity], marker=markers[quantity], label=label)
    ax.axhline(0.5, **style.CHANCE)
    ax.set(title="B3: early prediction", xlabel="step", ylabel="AUC", ylim=(-0.03, 1.03))
    ax.legend(loc="upper left", bbox_to_anchor=(-0.05, -0.28), handlelength=1.4)


def _perturbed(table: pd.DataFrame, ax: Axes) -> None:
    pairs = table.loc[(table["test"] == "B4") & (table["quantity"] == "barrier")]
    least = pairs.loc[pairs["x"] > 0, "x"].min()
    ax.plot(pairs["x"], pairs["value"], "o", color="C0", alpha=0.5, markersize=2.2)
    ax.set_xscale("symlog", linthresh=float(least) if pd.notna(least) else 1.0)
    sizes = sorted(pairs["x"].unique())
    ax.set_xticks(sizes, [f"{size:g}" for size in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set(title="B4: perturbations", xlabel="share of the norm", ylabel="barrier (nats)")
