"""How a score of models, found without a diagnostic, goes with it: models are the units (LCRGS).

Every statistic takes arrays whose last axis is the models and returns what is left of the others:
`x` is the score, `small` whether a model is in the smaller cluster, `y` the diagnostic and `z` the
accuracy in domain, which a partial correlation holds fixed (the small cluster of the paper's MNLI
models is worse in domain, too). Where a variable is constant the statistic is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

FEW = 5
"""With fewer models than this, resampling them says nothing: no interval."""

Statistic = Callable[..., np.ndarray]


def pearson(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return Pearson's r of x and y [..., n]; point-biserial where one is a membership."""
    x, y = _centred(x), _centred(y)
    return _over((x * y).sum(-1), np.sqrt(np.square(x).sum(-1) * np.square(y).sum(-1)))


def spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation of x and y [..., n]."""
    return pearson(rankdata(x, axis=-1), rankdata(y, axis=-1))


def partial(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the correlation of x and y [..., n] given z: of what z does not explain linearly."""
    return pearson(residuals(x, z), residuals(y, z))


def auc(small: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return how often a model of the smaller cluster has the lower y [..., n]; ties are half."""
    ranks, small = rankdata(y, axis=-1), np.asarray(small, bool)
    few, many = small.sum(-1), (~small).sum(-1)
    above = (ranks * small).sum(-1) - few * (few + 1) / 2
    return 1 - _over(above, few * many)


def difference(small: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the mean of y [..., n] in the smaller cluster less that in the larger."""
    small = np.asarray(small, bool)
    means = [_over((y * side).sum(-1), side.sum(-1)) for side in (small, ~small)]
    return means[0] - means[1]


def residuals(y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return y [..., n] without its mean and its linear regression on z."""
    y, z = _centred(y), _centred(z)
    slope = _over((y * z).sum(-1), np.square(z).sum(-1))
    return y - np.where(np.isfinite(slope), slope, 0)[..., None] * z


def interval(
    statistic: Statistic,
    arrays: Sequence[np.ndarray],
    generator: np.random.Generator,
    resamples: int,
    confidence: float,
) -> tuple[float, float]:
    """Return the bootstrap interval (percentiles) of a statistic of `arrays` [n] over models.

    Models are drawn with all they have. Draws in which it is not defined, as with one cluster, do
    not count; it is NaN where more than half do not, and with fewer than `FEW` models.
    """
    count = len(arrays[0])
    drawn = generator.integers(count, size=(resamples, count))
    values = statistic(*(np.asarray(array)[drawn] for array in arrays))
    values = values[np.isfinite(values)]
    if count < FEW or 2 * len(values) < resamples:
        return np.nan, np.nan
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def permutation_p(
    statistic: Statistic,
    fixed: np.ndarray,
    y: np.ndarray,
    generator: np.random.Generator,
    resamples: int,
    *,
    given: np.ndarray | None = None,
    centre: float = 0.0,
) -> float:
    """Return the two-sided p of a statistic of `fixed` and y [n], y permuted over models.

    With `given`, what it does not explain of y is permuted (Freedman & Lane 1983). `centre` is the
    statistic's value where nothing goes with anything.
    """
    rest = y if given is None else residuals(y, given)
    shuffled = generator.permuted(np.tile(rest, (resamples, 1)), axis=-1) + (y - rest)
    others = () if given is None else (given,)
    ours = np.abs(statistic(fixed, y, *others) - centre)
    if not np.isfinite(ours):
        return np.nan
    sides = [np.broadcast_to(array, shuffled.shape) for array in (fixed, *others)]
    theirs = np.abs(statistic(sides[0], shuffled, *sides[1:]) - centre)
    return float((1 + (theirs >= ours - 1e-12).sum()) / (1 + resamples))


def rows(
    x: np.ndarray,
    small: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    generator: np.random.Generator,
    resamples: int,
    confidence: float,
    against: np.ndarray | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the statistics of a score x, a membership `small` and a diagnostic y, all [n].

    `statistic, estimate, ci_low, ci_high, p, n`: `pearson`, `spearman` and `partial` (given the
    accuracy in domain, z) of the score; `auc` and `difference` of the cluster; and `behind`, by how
    much |r| of another score [n], `against`, exceeds that of this one.
    """
    resampling = (generator, resamples, confidence)

    def row(
        name: str, statistic: Statistic, arrays: Sequence[np.ndarray], p: float
    ) -> dict[str, Any]:
        low, high = interval(statistic, arrays, *resampling)
        found = {"statistic": name, "estimate": float(statistic(*arrays))}
        return found | {"ci_low": low, "ci_high": high, "p": p, "n": len(y)}

    drawing = (generator, resamples)
    yield row("pearson", pearson, (x, y), permutation_p(pearson, x, y, *drawing))
    yield row("spearman", spearman, (x, y), permutation_p(spearman, x, y, *drawing))
    yield row("partial", partial, (x, y, z), permutation_p(partial, x, y, *drawing, given=z))
    yield row("auc", auc, (small, y), permutation_p(auc, small, y, *drawing, centre=0.5))
    p = permutation_p(difference, small, y, *drawing)
    yield row("difference", difference, (small, y), p)
    if against is not None:
        yield row("behind", _behind, (x, against, y), np.nan)


def _behind(x: np.ndarray, against: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.abs(pearson(against, y)) - np.abs(pearson(x, y))


def _centred(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, float)
    centred = values - values.mean(-1, keepdims=True)
    # What rounding leaves of a constant is no variation.
    tolerance = 1e-12 * np.maximum(np.abs(values).max(-1, keepdims=True), 1e-300)
    return np.where(np.abs(centred).max(-1, keepdims=True) > tolerance, centred, 0.0)


def _over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    below = np.asarray(below, float)
    return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)
