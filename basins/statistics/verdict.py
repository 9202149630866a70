"""Decide claims by comparing their intervals with thresholds that were fixed beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.special import bdtr, bdtrc, logit, stdtr, stdtrit

Direction = Literal["above", "below", "within"]
Scale = Literal["plain", "logit", "exact"]
"""On which an interval has the shape of a t interval; `exact` is that of a share of yes or no."""
Verdict = Literal["supported", "contradicted", "inconclusive"]


def verdict(ci_low: float, ci_high: float, threshold: float, direction: Direction) -> Verdict:
    """Return whether the whole interval lies on the claim's side, on the other side, or neither.

    `within` is a test of equivalence: between -threshold and threshold (two one-sided tests). An
    interval that is NaN, as with too few seeds, decides nothing, and neither does one of width 0:
    seeds that are all equal show only that few others differ (`unseen`).
    """
    if direction == "within":
        sides = (
            verdict(ci_low, ci_high, -threshold, "above"),
            verdict(ci_low, ci_high, threshold, "below"),
        )
        return min(sides, key=("contradicted", "inconclusive", "supported").index)
    if direction == "below":
        ci_low, ci_high, threshold = -ci_high, -ci_low, -threshold
    if not ci_low < ci_high:
        return "inconclusive"
    if ci_low > threshold:
        return "supported"
    if ci_high < threshold:
        return "contradicted"
    return "inconclusive"


def unseen(seeds: int, confidence: float) -> float:
    """Return the largest share of seeds that may be of a kind of which none was sampled.

    This is the exact (Clopper-Pearson) upper bound for 0 of `seeds` at the two-sided `confidence`.
    It limits what follows from seeds that all agree, and what a mean over seeds covers.
    """
    return 1 - ((1 - confidence) / 2) ** (1 / seeds) if seeds else 1.0


def p_value(
    estimate: float,
    ci_low: float,
    ci_high: float,
    threshold: float,
    direction: Direction,
    confidence: float,
    seeds: int,
    scale: Scale = "plain",
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> float:
    """Return the level at which the interval would end exactly at the threshold.

    `verdict` decides if and only if this is below 1 - confidence. Each side is treated as that of
    a t interval with (seeds - 1) degrees of freedom, on the interval's scale. NaN without an
    interval, or if its width is 0.

    Args:
        estimate: the point estimate.
        ci_low: its lower end.
        ci_high: its upper end.
        threshold: the claim's threshold; for `within`, both -threshold and threshold.
        direction: on which side of it the claim expects the estimate.
        confidence: the confidence of the interval, two-sided.
        seeds: the number of seeds of the interval.
        scale: on which it was computed.
        bounds: the range of the estimate, finite for `logit`.
    """
    if direction == "within":
        ends = (estimate, ci_low, ci_high)
        of = (confidence, seeds, scale, bounds)
        return float(np.max([p_value(*ends, t, "above", *of) for t in (-threshold, threshold)]))
    if scale == "exact":  # Clopper & Pearson (1934)
        hits = round(estimate * seeds)
        above = bdtrc(hits - 1, seeds, threshold) if hits else 1.0
        return float(min(1.0, 2 * min(above, bdtr(hits, seeds, threshold))))
    if scale == "logit":
        values = on_logit((estimate, ci_low, ci_high, threshold), bounds)
        estimate, ci_low, ci_high, threshold = values
    half = estimate - ci_low if threshold < estimate else ci_high - estimate
    if not half > 0 or not np.isfinite(half) or seeds < 2:
        return np.nan
    t = abs(estimate - threshold) / half * stdtrit(seeds - 1, (1 + confidence) / 2)
    return float(2 * stdtr(seeds - 1, -t))


def on_logit(values: Sequence[float], bounds: tuple[float, float]) -> np.ndarray:
    """Return values [n] of a range on its logit scale; those at its ends become finite."""
    low, high = bounds
    return logit(np.clip((np.asarray(values) - low) / (high - low), 1e-12, 1 - 1e-12))


def holm(ps: Sequence[float]) -> np.ndarray:
    """Return p [n] adjusted for multiple comparisons (Holm 1979); NaN counts and stays NaN."""
    known = np.asarray(ps, float)
    order = np.argsort(known)  # NaN last
    steps = np.maximum.accumulate(known[order] * np.arange(len(known), 0, -1))
    adjusted = np.empty_like(known)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted
