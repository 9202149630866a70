"""The quadratic Bezier curve through a fitted midpoint (Garipov et al. 2018; MMC, section 4)."""

from __future__ import annotations

from functools import partial

from basins.paths import fitting


def coefficients(t: float) -> tuple[float, ...]:
    """Return the coefficients of the first end, the midpoint and the second end at `t`."""
    return ((1 - t) ** 2, 2 * t * (1 - t), t**2)


fit = partial(fitting.minimise, coefficients)
