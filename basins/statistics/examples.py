"""Intervals over examples: what would change had other examples of the same kind been drawn."""

from __future__ import annotations

import numpy as np
from scipy import stats


def mean_interval(values: np.ndarray, confidence: float) -> tuple[float, float, float]:
    """Return the mean of values [n] and the ends of its interval at this confidence.

    Wilson's score interval for booleans; the t interval otherwise.
    """
    if values.dtype == bool:
        hits = stats.binomtest(int(values.sum()), len(values))
        interval = hits.proportion_ci(confidence, method="wilson")
        return float(values.mean()), float(interval.low), float(interval.high)
    mean = float(values.mean(dtype=np.float64))
    spread = float(values.std(ddof=1, dtype=np.float64)) if len(values) > 1 else np.nan
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * spread / len(values) ** 0.5
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
