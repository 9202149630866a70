"""Whether two models are connected, decided on as few examples as the answer needs.

A path is connected where its barrier (`barrier_linear`, of loss or error) is at most a threshold.
The gap of an example at a point is its loss there less the chord between its losses at the ends. A
point is left as soon as a confidence sequence puts its mean gap on one side of the threshold. The
full grid decides otherwise with probability at most alpha, whatever the path. Such races are those
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
    """What a race decided, and what it took.

    `t` is the point that decided: the one not below the threshold, or else the one whose mean gap
    is the largest seen. `interval` bounds that point's mean gap, clipped as in `race`: each end
    holds with confidence 1 - alpha. `seen` counts the examples evaluated at each t. `examples`
    counts forward passes between the ends, the overhead of each point included; `full` those of
    the whole grid.
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

    A point that took all of its examples is decided by their mean, unclipped. A loss that is not
    finite makes the verdict `undefined`, as it does the barrier.

    Args:
        visit: `visit(t)` puts the network at t and returns what evaluates a slice of the examples
            there. They stand in random order, the same for all pairs.
        ends: both ends' full evaluations, with the examples in that order.
        ts: the grid, from 0 to 1.
        metric: `error` or `loss`.
        threshold: in nats for `loss`, a share for `error`; at least 0.
        alpha: the probability, at most, that the full grid decides otherwise; above 0, below 0.5.
        clip: how many nats one gap of `loss` counts at most, above 0, since cross-entropy has no
            upper end: `connected` is said of gaps so clipped, `not connected` of the losses as they
            are.
        batch: how many examples are evaluated between two looks at the bounds, at least 1.
        overhead: how many examples it costs to put the network at a t, for BatchNorm; at least 0.

    Raises:
        UserError: where `ts` has no point between the ends, or a loss at an end is not finite.
    """
    if len(ts) < 3:
        raise UserError(f"race: a grid of {len(ts)} points; give at least one between the two ends")
    first, last = (_values(end, metric) for end in ends)
    if not np.isfinite([first, last]).all():
        raise UserError("race: a loss at an end is not finite; such a model has no path to race")
    count = len(first)
    # No loss is negative, so no gap is below -chord; the worse end's highest loss is above any.
    low, high = -max(first.max(), last.max()), 1.0 if metric == "error" else clip
    # Any one point can make a connected path `not connected`, so each gets a share of alpha. A path
    # that is not connected passes for one only if the very points above the threshold err.
    enough_above, enough_below = np.log((len(ts) - 2) / alpha), np.log(1 / alpha)

    def side(t: float) -> tuple[Verdict, np.ndarray]:
        """Return what t on its own says of the path, and the gaps that it took."""
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
