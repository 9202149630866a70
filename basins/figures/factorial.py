"""Which random factor determines the basin, and which the strategy: a factorial on one page."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from basins.figures import rows, style
from basins.figures.instability import by_fork
from basins.figures.ordered_matrix import heat, scales, square, strategies
from basins.statistics.factorial import FACTORIAL, crossed, pairs, shared
from basins.statistics.seeds import over_factors


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    aspect: str,
    experiment: str,
    slice: str,
    line: str | None = None,
    forks: bool = True,
    eval_set: str = "test",
    high: float = 0.2,
    confidence: float = 0.95,
) -> Figure:
    """Draw all barriers of a factorial by head and by order, and what each factor explains.

    Reads `barriers`, `probes` and `aspects/<aspect>`, which has the streams of every model.

    Args:
        tables: rows of `results/` by the name of their table.
        aspect: one of `aspect`, of the tests of determinism.
        experiment: one of `connect`, whose models are a factorial.
        slice: the slice of the probes whose accuracy is the strategy.
        line: one of `connect`, whose models begin on a line between two heads.
        forks: whether there are runs that fork after a step, for a panel of their barriers.
        eval_set: the evaluation set of the barriers.
        high: the upper end of the scale of barriers (nats).
        confidence: the confidence of the intervals.

    Raises:
        UserError: a table has no such rows.
    """
    table = rows.select(tables, f"aspects/{aspect}", test="B2")
    levels = {f: _levels(table, f) for f in FACTORIAL}
    models, matrix = square(tables, experiment, eval_set, "barrier_linear")
    values = strategies(tables, models, slice)
    figure = style.new(style.PAGE_WIDTH, 6.0)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.5, 1))
    top, bottom = parts
    panels: Any = top.subplots(1, 2)
    for ax, (by, then) in zip(panels, (("head", "order"), ("order", "head")), strict=True):
        keys = [[levels[f][m] for m in models] for f in (then, by)]
        order = np.lexsort(keys)
        heat(ax, matrix[np.ix_(order, order)], values[order], high)
        ax.set_title(" ", pad=14)  # room for the strip, which the layout ignores
        _blocks(ax, np.array(keys[1])[order], by)
    scales(top, panels, high, slice)
    widths = [1.0, *([1.15 if line else 1.3] if forks else []), *([1.25] if line else [])]
    first, *others = bottom.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    _shares(first, tables, levels, experiment, slice, eval_set, confidence)
    if forks:
        _forks(others[0], tables[f"aspects/{aspect}"])
    if line:
        _line(others[-1], tables, levels, line, slice, eval_set)
    return figure


def title(
    tables: Mapping[str, pd.DataFrame],
    *,
    aspect: str,
    experiment: str,
    eval_set: str = "test",
    **_: object,
) -> str:
    """State the shares of the barriers that the head and the order explain."""
    table = rows.select(tables, f"aspects/{aspect}", test="B2")
    levels = {f: _levels(table, f) for f in FACTORIAL}
    found = pairs(_barriers(tables, experiment, eval_set), levels)
    head, order = (shared(found, f, np.ones(len(found), bool)) for f in ("head", "order"))
    return (
        f"The initial head explains {style.percent(head)} of the barriers, the order of the rows "
        f"{style.percent(order)}"
    )


def caption(
    *,
    aspect: str,
    experiment: str,
    slice: str,
    line: str | None = None,
    forks: bool = True,
    eval_set: str = "test",
    high: float = 0.2,
    confidence: float = 0.95,
) -> str:
    """Describe what `draw` shows with the same options.

    Args:
        aspect: one of `aspect`.
        experiment: one of `connect`, whose models are a factorial.
        slice: the slice of the probes.
        line: one of `connect`, whose models begin on a line between two heads.
        forks: whether there are runs that fork after a step, for a panel of their barriers.
        eval_set: the evaluation set of the barriers.
        high: the upper end of the scale of barriers (nats).
        confidence: the confidence of the intervals.
    """
    words = (
        "Crossed heads, orders and dropout. Above: the barrier of the loss on "
        f"{style.on(eval_set)} between all pairs of models (the scale ends at {high:g} nats), "
        f"sorted by head and by order; the strips show the accuracy on {style.on(slice)}. Below: "
        "the share that each factor explains of the barrier and "
        f"of the variance of that accuracy, with {100 * confidence:g} % intervals over heads and "
        "orders"
    )
    if forks:
        words += (
            "; the barrier between runs of one head that see the same batches until a step "
            f"({style.display(aspect)}, B1)"
        )
    if line:
        words += (
            "; and models that begin on the straight line between two heads: their barriers to "
            "models that begin at its ends, and their accuracy (dots), for each order"
        )
    return f"{words}."


def _levels(table: pd.DataFrame, factor: str) -> pd.Series:
    own = rows.select({"B2": table}, "B2", quantity=f"level, {factor}")
    return pd.Series(own["value"].to_numpy(float), index=own["models"])


def _blocks(ax: Axes, keys: np.ndarray, by: str) -> None:
    """Draw lines between blocks of equal keys [N], and label them."""
    ends = [*np.nonzero(np.diff(keys))[0] + 1, len(keys)]
    starts = [0, *ends[:-1]]
    for end in ends[:-1]:
        ax.axhline(end - 0.5, color="#888888", linewidth=0.6)
        ax.axvline(end - 0.5, color="#888888", linewidth=0.6)
    centres = [(a + b - 1) / 2 for a, b in zip(starts, ends, strict=True)]
    names = [f"{keys[start]:g}" for start in starts]
    ax.set_xticks(centres, names)
    ax.set_yticks(centres, names)
    ax.tick_params(length=0, labelsize=6)
    ax.set(xlabel=f"models by {by}", ylabel=f"models by {by}")


def _shares(
    ax: Axes,
    tables: Mapping[str, pd.DataFrame],
    levels: Mapping[str, pd.Series],
    experiment: str,
    slice_: str,
    eval_set: str,
    confidence: float,
) -> None:
    barriers = _barriers(tables, experiment, eval_set)
    models = sorted({*barriers["model_a"], *barriers["model_b"]})
    known = pd.Series(strategies(tables, models, slice_), index=models)
    for side, (name, strategy) in enumerate((("barrier", None), ("strategy", known))):
        table = pairs(barriers, levels, strategy)
        factors = [factor for factor in FACTORIAL if not table[factor].to_numpy().all()]
        means, low, high = [], [], []
        for factor in factors:
            found = over_factors(partial(shared, table, factor), crossed(table, factor), confidence)
            means.append(found["mean"])
            low.append(found["mean"] - found["ci_low"])
            high.append(found["ci_high"] - found["mean"])
        places = np.arange(len(factors)) + 0.16 * (2 * side - 1)
        ax.errorbar(
            places, means, yerr=(low, high), fmt="os"[side], color=f"C{side}", label=name, capsize=2
        )
    ax.axhline(0, **style.CHANCE)
    ax.set_xticks(range(len(factors)), factors)
    ax.set(title="share explained", ylabel="share", xlim=(-0.5, len(factors) - 0.5))
    ax.legend()


def _barriers(tables: Mapping[str, pd.DataFrame], experiment: str, eval_set: str) -> pd.DataFrame:
    chosen = {"experiment": experiment, "path": "linear", "metric": "loss", "eval_set": eval_set}
    return rows.select(tables, "barriers", **chosen)


def _forks(ax: Axes, table: pd.DataFrame) -> None:
    own = table.loc[table["test"] == "B1"]
    points, curve = own.loc[own["quantity"] == "instability"], by_fork(own)
    ax.plot(points["x"], points["value"], "o", color="C0", alpha=0.4, markersize=2.5)
    ax.fill_between(curve.index, curve["ci_low"], curve["ci_high"], color="C0", alpha=0.15)
    ax.plot(curve.index, curve["mean"], color="C0")
    ax.set(title="until when the order matters", xlabel="step of the fork")
    ax.set_ylabel("barrier (nats)")
    ax.set_ylim(bottom=0)


def _line(
    ax: Axes,
    tables: Mapping[str, pd.DataFrame],
    levels: Mapping[str, pd.Series],
    experiment: str,
    slice_: str,
    eval_set: str,
) -> None:
    models, matrix = square(tables, experiment, eval_set, "barrier_linear")
    head, order = (np.asarray(levels[f][models]) for f in ("head", "order"))
    values = strategies(tables, models, slice_)
    first, last = head.min(), head.max()
    twin = ax.twinx()
    for k, run in enumerate(np.unique(order)):
        own = np.nonzero(order == run)[0]
        own = own[np.argsort(head[own])]
        share = (head[own] - first) / (last - first)
        for end, style_, colour in ((own[0], "-", "C0"), (own[-1], "--", "C1")):
            label = f"to head {head[end]:g}" if k == 0 else None
            ax.plot(share, matrix[own, end], style_, color=colour, alpha=0.8, label=label)
        twin.plot(share, values[own], "o", color="#777777", markersize=2.5, alpha=0.7)
    ax.set(title="between two heads", xlabel="position on the line", ylabel="barrier (nats)")
    ax.set_ylim(bottom=0)
    twin.set(ylim=(-0.03, 1.03), ylabel="accuracy (%), dots")
    style.in_percent(twin.yaxis)
    twin.grid(False)
    ax.legend()
