"""Decides whether two models are connected, on as few examples as necessary.

A path is connected if its barrier (`barrier_linear`, of loss or error) is at most a threshold. The
gap of an example at a point is its loss there minus the chord between its losses at the ends. A
point is decided as soon as a confidence sequence puts its mean gap on one side of the threshold.
For any path, the full grid decides differently with probability at most alpha. Such races are those
of Maron & Moore 1994 and Mnih et al. 2008, here with the bets of `confidence`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from basins.data.images import Evaluation
from basins.errors import UserError
from basins.paths.confidence import Capital, bounds

Metric = Literal["error", "loss"]
Verdict = Literal["connected", "not connected", "undefined"]


class Decision(NamedTuple):
    """The result of a race, and its cost.

    `t` is the deciding point: the one not below the threshold, or else the one with the largest
    observed mean gap. `interval` bounds that point's mean gap, clipped as in `race`; each end has
    confidence 1 - alpha. `seen` counts the examples evaluated at each t. `examples` counts forward
    passes at inner points, including each point's overhead; `full` those of the whole grid.
    """

    verdict: Verdict
    t: float
    interval: tuple[float, float]
    seen: dict[float, int]
    examples: int
    full: int


def race(
    visit: Callable[[float], Callable[[slice], Evaluation]],
    ends: tuple[Evaluation, Evaluation],
    ts: Sequence[float],
    *,
    metric: Metric,
    threshold: Annotated[float, Field(ge=0, allow_inf_nan=False)],
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.01,
    clip: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5.0,
    batch: Annotated[int, Field(ge=1)] = 128,
    overhead: Annotated[int, Field(ge=0)] = 0,
) -> Decision:
    """Decide whether the path's barrier on the grid `ts` exceeds `threshold`.

    A point at which all examples were evaluated is decided by their unclipped mean. If a loss is
    not finite, the verdict is `undefined`, like the barrier.

    Args:
        visit: `visit(t)` moves the network to t and returns a function that evaluates a slice of
            the examples there. Examples are in random order, the same for all pairs.
        ends: both ends' full evaluations, with the examples in that order.
        ts: the grid, from 0 to 1.
        metric: `error` or `loss`.
        threshold: in nats for `loss`, a share for `error`; at least 0.
        alpha: the largest probability that the full grid decides differently; in (0, 0.5).
        clip: the largest gap of `loss` in nats, above 0, as cross-entropy is unbounded:
            `connected` refers to gaps clipped at it, `not connected` also holds for the losses
            themselves.
        batch: how many examples are evaluated between two checks of the bounds, at least 1.
        overhead: the cost, in examples, of moving the network to a t, for BatchNorm; at least 0.

    Raises:
        UserError: `ts` has no point between the ends, or a loss at an end is not finite.
    """
    if len(ts) < 3:
        raise UserError(f"race: a grid of {len(ts)} points; give at least one between the two ends")
    first, last = (_values(end, metric) for end in ends)
    if not np.isfinite([first, last]).all():
        raise UserError("race: a loss at an end is not finite; such a model has no path to race")
    count = len(first)
    # Losses are not negative, so gaps are at least -chord, which the highest loss at an end bounds.
    low, high = -max(first.max(), last.max()), 1.0 if metric == "error" else clip
    # A single point can make a connected path `not connected`, so each gets a share of alpha. A
    # path that is not connected is missed only if a point above the threshold errs.
    enough_above, enough_below = np.log((len(ts) - 2) / alpha), np.log(1 / alpha)

    def side(t: float) -> tuple[Verdict, np.ndarray]:
        """Return the verdict of t alone on the path, and the gaps that were evaluated."""
        chord, look, gaps = (1 - t) * first + t * last, visit(t), np.empty(0)
        above = Capital(threshold, count=count, low=low)
        below = Capital(-threshold, count=count, low=-high)
        for start in range(0, count, batch):
            part = slice(start, min(start + batch, count))
            new = _values(look(part), metric) - chord[part]
            gaps = np.append(gaps, new)
            if not np.isfinite(new).all():
                return "undefined", gaps
            if above.update(np.minimum(new, high)).max() > enough_above:
                return "not connected", gaps
            if below.update(-np.minimum(new, high)).max() > enough_below:
                return "connected", gaps
        return "connected" if gaps.mean() <= threshold else "not connected", gaps

    taken: dict[float, np.ndarray] = {}
    for t in middle_first(ts[1:-1]):
        verdict, taken[t] = side(t)
        if verdict != "connected":
            break
    else:
        verdict, t = "connected", max(taken, key=lambda t: taken[t].mean())
    interval = (np.nan, np.nan)
    if verdict != "undefined":
        capped = np.minimum(taken[t], high)
        interval = bounds(capped, count=count, low=low, high=high, alpha=2 * alpha)
    seen = {t: len(gaps) for t, gaps in taken.items()}
    return Decision(
        verdict,
        t,
        (float(interval[0]), float(interval[1])),
        seen,
        examples=sum(seen.values()) + overhead * len(seen),
        full=(len(ts) - 2) * (count + overhead),
    )


def middle_first(ts: Sequence[float]) -> Iterator[float]:
    """Yield the middle of `ts`, then the middles of its halves, and so on: .5, .25, .75, ..."""
    parts = [tuple(ts)]
    for part in parts:
        if part:
            middle = len(part) // 2
            yield part[middle]
            parts += [part[:middle], part[middle + 1 :]]


def _values(evaluation: Evaluation, metric: Metric) -> np.ndarray:
    values = evaluation.losses if metric == "loss" else ~evaluation.correct
    return values.astype(np.float64)
