"""Intervals over examples: what would change had other examples of the same kind been drawn."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri, stdtrit  # scipy.stats takes as long to import as a small stage

from basins import seeds

RESAMPLES = 10_000
Count = np.ndarray | np.integer


def estimate(metric: str, values: np.ndarray, confidence: float) -> tuple[float, float, float]:
    """Return a metric of examples and the ends of its interval at this confidence.

    For `f1` and `mcc` the values are bool [n, 2], the predicted and the true class of each example,
    and the interval is the percentile bootstrap's over examples, from a stream of its own. Any
    other metric is the mean of the values [n].
    """
    if metric not in SCORES:
        return mean_interval(values, confidence)
    # To draw n examples again is to draw how many of them fall in each of four cells.
    cells = _cells(*values.T)
    drawn = seeds.generator("bootstrap", metric).multinomial(
        len(values), cells / len(values), size=RESAMPLES
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(SCORES[metric](*drawn.T), [tail, 1 - tail])
    return float(SCORES[metric](*cells)), float(low), float(high)


def _f1(neither: Count, missed: Count, wrong: Count, right: Count) -> Count:
    """Return the harmonic mean of precision and recall, 0 where nothing is right."""
    return 2 * right / np.maximum(2 * right + missed + wrong, 1)


def _mcc(neither: Count, missed: Count, wrong: Count, right: Count) -> Count:
    """Return Matthews's correlation, 0 where all is predicted, or is, one class."""
    margins = (right + wrong, right + missed, neither + wrong, neither + missed)
    spread = np.sqrt(np.prod(np.asarray(margins, dtype=np.float64), axis=0))
    return (right * neither - wrong * missed) / np.where(spread, spread, 1)


SCORES = {"f1": _f1, "mcc": _mcc}


def scores(predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Return every score of a prediction of two classes, both bool [n]: F1 and MCC."""
    cells = _cells(predicted, true)
    return {name: float(score(*cells)) for name, score in SCORES.items()}


def _cells(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return how many examples are in neither class, missed, wrongly named and right: int [4]."""
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
    """Return how often each of `count` examples is drawn in each bootstrap resample, over `count`.

    Float32 [resamples, count]. Using one array for all points of a path, ends included, resamples
    them jointly: the noise that they share cancels in a barrier.
    """
    drawn = generator.multinomial(count, np.full(count, 1 / count), size=resamples)
    return drawn.astype(np.float32) / np.float32(count)


def basic_interval(
    estimate: float, resampled: np.ndarray, confidence: float
) -> tuple[float, float]:
    """Return the basic bootstrap interval from resampled statistics [resamples].

    It reflects the resamples about the estimate, so the upward bias that a maximum over noisy
    points has in the resamples is taken off, not doubled.
    """
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return 2 * estimate - float(high), 2 * estimate - float(low)
