"""Bounds on the mean of a finite set of bounded values, valid at any stopping time.

A gambler bets on each value as it is drawn, in random order and without replacement, at odds that
are fair if the mean is m and unfavourable if it is less. By Ville's inequality the capital, at
first 1, then ever exceeds 1 / alpha with probability at most alpha: a test of m that may be checked
after every value, and, over all m, a confidence sequence. This is betting without replacement of
Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting" (JRSS B, 2024).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from basins.errors import UserError

# Shares of the capital staked on each value; equal parts of the capital use each of these shares.
# Small ones gain if the mean is close to m, large ones if it is far, which is unknown beforehand.
STAKES = 0.95 * 0.5 ** np.arange(6)
HALVINGS = 30


class Capital:
    """A bet that the mean of `count` values, all at least `low`, is above `mean` [...].

    Values are passed in the order drawn. If their mean is at most `mean`, the capital ever exceeds
    1 / alpha with probability at most alpha. To bet that the mean is below, negate the values and
    `mean`, and pass the negated highest value as `low`.
    """

    def __init__(self, mean: ArrayLike, *, count: int, low: float) -> None:
        self.low, self.left = low, count
        self.owed = np.asarray(mean, np.float64) * count  # sum of unseen values under `mean`
        self.logs = np.full((*self.owed.shape, len(STAKES)), -np.log(len(STAKES)))

    def update(self, values: np.ndarray) -> np.ndarray:
        """Return the logarithm of the capital after each of the next `values` [..., n].

        Raises `UserError` if a value is below `low`, or more than `count` are drawn.
        """
        drawn = values.shape[-1]
        if drawn > self.left:
            raise UserError(f"confidence: {drawn} values, but only {self.left} are left to draw")
        if not (values >= self.low).all():
            raise UserError(f"confidence: a value is not {self.low} or more; give a lower `low`")
        sums = np.cumsum(values, axis=-1)
        expected = (self.owed[..., None] - (sums - values)) / (self.left - np.arange(drawn))
        # If unseen values would have to average `low` or less, the payoff of a higher one diverges.
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

    For one stream, the bounds at all n hold simultaneously with probability 1 - `alpha`. They widen
    with n only to include a mean that they had missed; at n = `count` both equal the mean.

    Args:
        values: the seen values, [..., n], drawn in random order without replacement.
        count: the number of all values.
        low: a lower bound of all values.
        high: an upper bound of all values.
        alpha: the largest probability that the bounds miss the mean at some n.

    Raises:
        UserError: a value is not between `low` and `high`, or n is 0 or exceeds `count`.
    """
    if not values.shape[-1]:
        raise UserError("confidence: no values; give at least one")
    lower = _lower(values, count, low, high, alpha / 2)
    return lower, -_lower(-values, count, -high, -low, alpha / 2)


def _lower(values: np.ndarray, count: int, low: float, high: float, alpha: float) -> np.ndarray:
    unseen, total = count - values.shape[-1], values.sum(-1)
    # The mean cannot be below the first or above the second. Capital decreases in m.
    refuted, allowed = (total + unseen * low) / count, (total + unseen * high) / count
    for _ in range(HALVINGS):
        mean = (refuted + allowed) / 2
        capital = Capital(mean, count=count, low=low).update(values)
        crossed = capital.max(-1) > -np.log(alpha)
        refuted, allowed = np.where(crossed, mean, refuted), np.where(crossed, allowed, mean)
    return refuted
