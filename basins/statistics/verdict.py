"""Deciding a claim by its interval, against a threshold fixed beforehand."""

from __future__ import annotations

from typing import Literal

Direction = Literal["above", "below", "within"]
Verdict = Literal["reproduced", "not reproduced", "undecided"]


def verdict(ci_low: float, ci_high: float, threshold: float, direction: Direction) -> Verdict:
    """Return whether the whole interval lies where the claim says, opposite to it, or neither.

    `within` is the test of equivalence: between -threshold and threshold (two one-sided tests).
    An interval that is not a number, as with too few seeds, decides nothing.
    """
    if direction == "within":
        sides = (
            verdict(ci_low, ci_high, -threshold, "above"),
            verdict(ci_low, ci_high, threshold, "below"),
        )
        return min(sides, key=("not reproduced", "undecided", "reproduced").index)
    if direction == "below":
        ci_low, ci_high, threshold = -ci_high, -ci_low, -threshold
    if ci_low > threshold:
        return "reproduced"
    if ci_high < threshold:
        return "not reproduced"
    return "undecided"
