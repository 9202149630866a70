"""The loss barriers of the literature, by name, and the convexity gap.

Every function takes a grid t [T], which increases from 0 (model a) to 1 (model b), and losses
[..., T] on it, and returns [...] in float64. L(t) is the loss at t. A curve with a loss that is not
finite has the barrier NaN. An invalid grid raises `UserError`. The definitions are those of the
operationalisation of the SoK, section 1.2; they differ only if the losses of the two ends differ.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from basins.errors import UserError


def barrier_linear(t: ArrayLike, losses: ArrayLike) -> np.ndarray:
    """Return max_t [L(t) - ((1 - t) L(0) + t L(1))], never below 0 (Entezari et al. 2022)."""
    return excess(t, losses).max(-1)


def excess(t: ArrayLike, losses: ArrayLike) -> np.ndarray:
    """Return L(t) - ((1 - t) L(0) + t L(1)) [..., T], which is exactly 0 at both ends."""
    t, losses = _checked(t, losses)
    rise = losses - losses[..., :1]
    return rise - t * rise[..., -1:]


def barrier_mean(t: ArrayLike, losses: ArrayLike) -> np.ndarray:
    """Return max_t L(t) - (L(0) + L(1)) / 2, the instability of Frankle et al. 2020."""
    _, losses = _checked(t, losses)
    return losses.max(-1) - (losses[..., 0] + losses[..., -1]) / 2


def barrier_mid(t: ArrayLike, losses: ArrayLike) -> np.ndarray:
    """Return L(1/2) - (L(0) + L(1)) / 2, negative if the midpoint is better (REPAIR's code).

    It is NaN if t = 1/2 is not on the grid, as losses are not interpolated.
    """
    t, losses = _checked(t, losses)
    middle = np.flatnonzero(np.isclose(t, 0.5, rtol=0, atol=1e-9))
    at_half = losses[..., middle[0]] if len(middle) else np.nan
    return at_half - (losses[..., 0] + losses[..., -1]) / 2


def barrier_endpoint(t: ArrayLike, losses: ArrayLike) -> np.ndarray:
    """Return max_t L(t) - max(L(0), L(1)): how far the path rises above its worse end."""
    _, losses = _checked(t, losses)
    return losses.max(-1) - np.maximum(losses[..., 0], losses[..., -1])


def convexity_gap(t: ArrayLike, losses: ArrayLike) -> np.ndarray:
    """Return the largest `barrier_linear` over all sub-segments of the path (LCRGS, CG).

    It equals max_t [L(t) - L**(t)], where L** is the lower convex envelope: at every point the
    lowest chord attains the envelope (Caratheodory). The monotone chain algorithm computes it in
    O(T) per curve, vectorised over curves.
    """
    t, losses = _checked(t, losses)
    curves = excess(t, losses).reshape(-1, len(t))
    gaps = (curves - _lower_envelope(t, curves)).max(-1)
    return gaps.reshape(losses.shape[:-1])


BARRIERS: dict[str, Callable[[ArrayLike, ArrayLike], np.ndarray]] = {
    function.__name__: function
    for function in (barrier_linear, barrier_mean, barrier_mid, barrier_endpoint, convexity_gap)
}


def _checked(t: ArrayLike, losses: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    t, losses = np.asarray(t, np.float64), np.asarray(losses, np.float64)
    if t.ndim != 1 or len(t) < 2 or t[0] != 0 or t[-1] != 1 or not (np.diff(t) > 0).all():
        raise UserError(f"barrier: t must increase from 0 to 1, got {t.tolist()}")
    if losses.ndim < 1 or losses.shape[-1] != len(t):
        raise UserError(f"barrier: {len(t)} values of t, but losses of shape {losses.shape}")
    return t, np.where(np.isfinite(losses).all(-1, keepdims=True), losses, np.nan)


def _lower_envelope(t: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """Return the lower convex envelope of each curve [n, T], on the grid."""
    n, points = curves.shape
    rows, columns = np.arange(n), np.arange(points)
    corner = np.ones((n, points), bool)
    stack, top = np.zeros((n, points), int), np.zeros(n, int)
    for new in columns[1:]:
        open_ = rows[top > 0]
        while len(open_):
            last, before = stack[open_, top[open_]], stack[open_, top[open_] - 1]
            y0, y1, y2 = (curves[open_, k] for k in (before, last, new))
            above = (y1 - y0) * (t[new] - t[before]) >= (y2 - y0) * (t[last] - t[before])
            open_ = open_[above]
            corner[open_, last[above]] = False
            top[open_] -= 1
            open_ = open_[top[open_] > 0]
        top += 1
        stack[rows, top] = new
    left = np.maximum.accumulate(np.where(corner, columns, 0), -1)
    right = np.minimum.accumulate(np.where(corner, columns, points - 1)[:, ::-1], -1)[:, ::-1]
    y_left, y_right = (np.take_along_axis(curves, side, -1) for side in (left, right))
    share = (t - t[left]) / np.where(corner, 1, t[right] - t[left])
    return y_left + share * (y_right - y_left)
