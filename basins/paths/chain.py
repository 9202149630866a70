"""The polygonal chain of two line segments that meet in a fitted bend (Garipov et al. 2018)."""

from __future__ import annotations

from functools import partial

from basins.paths import fitting


def coefficients(t: float) -> tuple[float, ...]:
    """Return the coefficients of the first end, the bend and the second end at `t`."""
    return (max(0.0, 1 - 2 * t), 1 - abs(1 - 2 * t), max(0.0, 2 * t - 1))


fit = partial(fitting.minimise, coefficients)
