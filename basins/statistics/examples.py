"""Intervals over examples: what would change if other examples of the same kind had been drawn."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.special import ndtri, stdtrit  # scipy.stats takes as long to import as a small stage

from basins import seeds

RESAMPLES = 10_000
DRAWS = 4000  # of the maximum of correlated normals: accurate to 2 % of its quantile
Count = np.ndarray | np.integer


def estimate(metric: str, values: np.ndarray, confidence: float) -> tuple[float, float, float]:
    """Return a metric of examples and the ends of its interval at this confidence.

    For `f1` and `mcc` the values are bool [n, 2], the predicted and the true class of each example,
    and the interval is a percentile bootstrap over examples, with its own random stream. Any other
    metric is the mean of the values [n].
    """
    if metric not in SCORES:
        return mean_interval(values, confidence)
    # Resampling n examples is equivalent to resampling the counts of the four cells.
    cells = _cells(*values.T)
    drawn = seeds.generator("bootstrap", metric).multinomial(
        len(values), cells / len(values), size=RESAMPLES
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(SCORES[metric](*drawn.T), [tail, 1 - tail])
    return float(SCORES[metric](*cells)), float(low), float(high)


def _f1(neither: Count, missed: Count, wrong: Count, right: Count) -> Count:
    """Return the harmonic mean of precision and recall; 0 without true positives."""
    return 2 * right / np.maximum(2 * right + missed + wrong, 1)


def _mcc(neither: Count, missed: Count, wrong: Count, right: Count) -> Count:
    """Return Matthews's correlation; 0 if all predictions, or all labels, are one class."""
    margins = (right + wrong, right + missed, neither + wrong, neither + missed)
    spread = np.sqrt(np.prod(np.asarray(margins, dtype=np.float64), axis=0))
    return (right * neither - wrong * missed) / np.where(spread, spread, 1)


SCORES = {"f1": _f1, "mcc": _mcc}


def scores(predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Return F1 and MCC of predictions of two classes; both arguments are bool [n]."""
    cells = _cells(predicted, true)
    return {name: float(score(*cells)) for name, score in SCORES.items()}


def _cells(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the numbers of true negatives, misses, false positives and true positives: int [4]."""
    return np.bincount(2 * predicted + true, minlength=4)


def mean_interval(values: np.ndarray, confidence: float) -> tuple[float, float, float]:
    """Return the mean of values [n] and the ends of its interval at this confidence.

    Wilson's score interval for booleans; the t interval otherwise.
    """
    count, mean = len(values), float(values.mean(dtype=np.float64))
    if values.dtype == bool:
        z = float(ndtri((1 + confidence) / 2))
        centre = (mean + z**2 / (2 * count)) / (1 + z**2 / count)
        half = z / (1 + z**2 / count) * (mean * (1 - mean) / count + (z / count / 2) ** 2) ** 0.5
        return mean, max(0.0, centre - half), min(1.0, centre + half)
    spread = float(values.std(ddof=1, dtype=np.float64)) if count > 1 else np.nan
    half = float(stdtrit(count - 1, (1 + confidence) / 2)) * spread / count**0.5
    return mean, mean - half, mean + half


def resampling_weights(count: int, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """Return the weight of each of `count` examples in each bootstrap resample.

    Float32 [resamples, count]; weights add up to 1. Using one array for all points of a path, ends
    included, resamples them jointly, so that the noise that they share cancels.
    """
    drawn = generator.multinomial(count, np.full(count, 1 / count), size=resamples)
    return drawn.astype(np.float32) / np.float32(count)


def highest_interval(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """Return the ends of an interval for the highest of T means over examples, of values [n, T].

    The low end is the highest of T simultaneous low ends (sup-t: a quantile of the maximum of T
    correlated normals). The high end is the highest of T pointwise high ends, since only that of
    the truly highest mean must hold. So its coverage is at least nominal, unlike that of a
    bootstrap of the maximum if the means are as close as their noise (tests/statistics).
    """
    count, points = values.shape
    if count < 2 or not np.isfinite(values).all():
        return np.nan, np.nan
    means = values.mean(axis=0, dtype=np.float64)
    centred = values - means
    covariance = centred.T @ centred / (count - 1) / count
    errors = np.sqrt(covariance.diagonal())
    upper = (1 + confidence) / 2
    t = float(stdtrit(count - 1, upper))
    vary = errors > 0
    together = 0.0
    if vary.any():
        correlation = (covariance / np.outer(errors, errors).clip(1e-300))[np.ix_(vary, vary)]
        sizes, axes = np.linalg.eigh(correlation)
        drawn = _normals(points)[:, : vary.sum()] @ (axes * np.sqrt(sizes.clip(0))).T
        together = t / float(ndtri(upper)) * float(np.quantile(drawn.max(axis=1), upper))
    return float((means - together * errors).max()), float((means + t * errors).max())


def highest_split(values: np.ndarray) -> float:
    """Return the highest of T means over examples, of values [n, T], without the maximum's bias.

    One half of the examples (random, but always the same) determines which mean is the highest and
    the other half its value; the result is averaged over both roles of the halves.
    """
    first = _halves(len(values))
    one, other = (values[side].mean(axis=0, dtype=np.float64) for side in (first, ~first))
    return float(other[one.argmax()] + one[other.argmax()]) / 2


def gap_split(ts: np.ndarray, values: np.ndarray) -> float:
    """Return the convexity gap of T means over examples, of values [n, T], without its bias.

    The gap is the largest height of a mean above the chord of two others around it (LCRGS), which
    noise alone makes positive. As in `highest_split`, one half of the examples determines the three
    points and the other half the height. The grid `ts` [T] increases.
    """
    first = _halves(len(values))
    means = np.stack([values[side].mean(axis=0, dtype=np.float64) for side in (first, ~first)])
    # The gap is 0 if no point lies above a chord.
    at, highest = np.zeros((2, 2))  # for each half: the height in the other, and its own
    middle, right = np.triu_indices(len(ts), k=1)
    for left in range(len(ts) - 2):
        inside = middle > left
        m, r = middle[inside], right[inside]
        share = (ts[m] - ts[left]) / (ts[r] - ts[left])
        heights = means[:, m] - (1 - share) * means[:, [left]] - share * means[:, r]
        for half in (0, 1):
            best = heights[half].argmax()
            if heights[half, best] > highest[half]:
                highest[half], at[half] = heights[half, best], heights[1 - half, best]
    return float(at.sum()) / 2


@cache
def _normals(points: int) -> np.ndarray:
    return seeds.generator("highest", points).standard_normal((DRAWS, points))


@cache
def _halves(count: int) -> np.ndarray:
    return seeds.generator("halves", count).permutation(count) < count / 2
