"""Bounds on the mean of a finite set of bounded values, valid however early one stops to look.

A gambler bets on each value as it is drawn, in random order and without replacement, at odds that
are fair if the mean is m and worse if it is less. By Ville's inequality the capital, 1 at first,
then ever passes 1 / alpha with probability alpha at most: a test of m that may be looked at after
every value, and, over all m, a confidence sequence. This is betting without replacement of
Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting" (JRSS B, 2024).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from basins.errors import UserError

# Shares of a capital that are staked on each value, every one by an equal part of it: small shares
# win where the mean is near m, large ones where it is far, and nobody knows which beforehand.
STAKES = 0.95 * 0.5 ** np.arange(6)
HALVINGS = 30


class Capital:
    """A bet that the mean of `count` values, none of them below `low`, is above `mean` [...].

    Values are handed over in the order drawn. If their mean is `mean` or less, the capital ever
    passes 1 / alpha with probability alpha at most. To bet that the mean is below, negate the
    values and `mean`, and give the negated highest value as `low`.
    """

    def __init__(self, mean: ArrayLike, *, count: int, low: float) -> None:
        self.low, self.left = low, count
        self.owed = np.asarray(mean, np.float64) * count  # the sum of unseen values, were it so
        self.logs = np.full((*self.owed.shape, len(STAKES)), -np.log(len(STAKES)))

    def update(self, values: np.ndarray) -> np.ndarray:
        """Return the logarithm of the capital after each of the next `values` [..., n].

        Raises `UserError` where a value is below `low`, or where more than `count` are drawn.
        """
        drawn = values.shape[-1]
        if drawn > self.left:
            raise UserError(f"confidence: {drawn} values, but only {self.left} are left to draw")
        if not (values >= self.low).all():
            raise UserError(f"confidence: a value is not {self.low} or more; give a lower `low`")
        sums = np.cumsum(values, axis=-1)
        expected = (self.owed[..., None] - (sums - values)) / (self.left - np.arange(drawn))
        # Where unseen values would have to average `low` or less, a higher one pays without limit.
        payoffs = (values - self.low) / np.maximum(expected - self.low, 1e-12)
        paths = np.log1p(STAKES[:, None] * (payoffs[..., None, :] - 1)).cumsum(-1)
        paths += self.logs[..., None]
        self.logs, self.left = paths[..., -1], self.left - drawn
        self.owed = self.owed - sums[..., -1]
        return np.logaddexp.reduce(paths, axis=-2)


def bounds(
    values: np.ndarray, *, count: int, low: float, high: float, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper bounds [...] on the means of `count` values, of which n are seen.

    For one stream, the bounds at all n hold at once with probability 1 - `alpha`. They do not widen
    as n grows, but to let in a mean that they had missed; at n = `count` both are the mean.

    Args:
        values: those that are seen, [..., n], drawn in random order and without replacement.
        count: of all values.
        low: no value is below it.
        high: no value is above it.
        alpha: the probability, at most, that the bounds miss the mean at some n.

    Raises:
        UserError: where a value is not between `low` and `high`, or n is 0 or exceeds `count`.
    """
    if not values.shape[-1]:
        raise UserError("confidence: no values; give at least one")
    lower = _lower(values, count, low, high, alpha / 2)
    return lower, -_lower(-values, count, -high, -low, alpha / 2)


def _lower(values: np.ndarray, count: int, low: float, high: float, alpha: float) -> np.ndarray:
    unseen, total = count - values.shape[-1], values.sum(-1)
    # No mean below the first or above the second is possible. Capital falls as m rises.
    refuted, allowed = (total + unseen * low) / count, (total + unseen * high) / count
    for _ in range(HALVINGS):
        mean = (refuted + allowed) / 2
        capital = Capital(mean, count=count, low=low).update(values)
        crossed = capital.max(-1) > -np.log(alpha)
        refuted, allowed = np.where(crossed, mean, refuted), np.where(crossed, allowed, mean)
    return refuted
