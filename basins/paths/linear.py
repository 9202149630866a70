"""The straight line between two networks (Mechanistic Mode Connectivity, Def. 1: LMC)."""

from __future__ import annotations


def coefficients(t: float) -> tuple[float, ...]:
    """Return the coefficients of the two ends at `t`: the first end at 0, the second at 1."""
    return (1 - t, t)
