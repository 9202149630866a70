"""Decide claims by comparing their intervals with thresholds that were fixed beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.special import stdtr, stdtrit

Direction = Literal["above", "below", "within"]
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
) -> float:
    """Return the level at which the interval would end exactly at the threshold.

    `verdict` decides if and only if this is below 1 - confidence. Each side is treated as that of
    a t interval with (seeds - 1) degrees of freedom. NaN without an interval, or if its width is 0.

    Args:
        estimate: the point estimate.
        ci_low: its lower end.
        ci_high: its upper end.
        threshold: the claim's threshold; for `within`, both -threshold and threshold.
        direction: on which side of it the claim expects the estimate.
        confidence: the confidence of the interval, two-sided.
        seeds: the number of seeds of the interval.
    """
    if direction == "within":
        ends = (estimate, ci_low, ci_high)
        sides = [
            p_value(*ends, side, "above", confidence, seeds) for side in (-threshold, threshold)
        ]
        return float(np.max(sides))
    half = estimate - ci_low if threshold < estimate else ci_high - estimate
    if not half > 0 or not np.isfinite(half) or seeds < 2:
        return np.nan
    t = abs(estimate - threshold) / half * stdtrit(seeds - 1, (1 + confidence) / 2)
    return float(2 * stdtr(seeds - 1, -t))


def holm(ps: Sequence[float]) -> np.ndarray:
    """Return p [n] adjusted for multiple comparisons (Holm 1979); NaN counts and stays NaN."""
    known = np.asarray(ps, float)
    order = np.argsort(known)  # NaN last
    steps = np.maximum.accumulate(known[order] * np.arange(len(known), 0, -1))
    adjusted = np.empty_like(known)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted
