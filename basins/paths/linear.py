"""The straight line between two networks (Mechanistic Mode Connectivity, Def. 1: LMC)."""

from __future__ import annotations


def coefficients(t: float) -> tuple[float, ...]:
    """Return the weights of the two ends at `t`: all of the first at 0, all of the second at 1."""
    return (1 - t, t)
