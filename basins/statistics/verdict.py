"""Deciding a claim by its interval, against a threshold fixed beforehand."""

from __future__ import annotations

from typing import Literal

Verdict = Literal["reproduced", "not reproduced", "undecided"]


def verdict(
    ci_low: float, ci_high: float, threshold: float, direction: Literal["above", "below"]
) -> Verdict:
    """Return whether the whole interval lies where the claim says, opposite to it, or neither.

    An interval that is not a number, as with too few seeds, decides nothing.
    """
    if direction == "below":
        ci_low, ci_high, threshold = -ci_high, -ci_low, -threshold
    if ci_low > threshold:
        return "reproduced"
    if ci_high < threshold:
        return "not reproduced"
    return "undecided"
