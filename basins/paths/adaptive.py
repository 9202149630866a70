"""Grids along paths that are doubled until barriers stop changing: fewer points, no bound.

A grid's barrier is a lower bound of the path's own, and nothing bounds it from above without
knowing how fast the loss may change. Two successive grids that agree are evidence, not proof, and
weak evidence where the top is in the middle, as it often is: every grid has a point there. Starting
from five points instead of three costs four evaluations and catches more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from basins.errors import UserError
from basins.paths.pairs import grid

Path = TypeVar("Path", bound=Hashable)
Grids = dict[Path, tuple[float, ...]]


def refine(
    paths: Collection[Path],
    losses: Callable[[Grids[Path]], Mapping[Path, np.ndarray]],
    barrier: Callable[[ArrayLike, ArrayLike], ArrayLike],
    *,
    start: int,
    tolerance: float,
    limit: int,
) -> Grids[Path]:
    """Double each path's grid until none of its barriers changes by `tolerance`.

    A path with a loss that is not finite has no barrier and goes no further. SoK
    operationalisation, section 1.4.

    Args:
        paths: what grids are refined for.
        losses: `losses(grids)` returns mean losses [curves, T] of each path on its grid, which
            holds the points of the grid before it; all paths that go on are asked for at once.
        barrier: `barrier(t, losses)`, one of `landscape.barriers`.
        start: points of the first grid.
        tolerance: in the losses' unit.
        limit: the most points that a grid may have.

    Returns:
        The last grid of each path.

    Raises:
        UserError: where `limit` leaves no room for a second grid.
    """
    if not 2 * start - 1 <= limit:
        raise UserError(f"points: from {start}, the next grid has {2 * start - 1}: limit {limit}")
    grids: Grids[Path] = dict.fromkeys(paths, grid(start))
    open_, before = grids, {path: np.inf for path in paths}
    while open_:
        barriers = {p: np.asarray(barrier(open_[p], v)) for p, v in losses(open_).items()}
        changed = {
            path
            for path, found in barriers.items()
            if np.isfinite(found).all() and (np.abs(found - before[path]) >= tolerance).any()
        }
        before = barriers
        finer = {path: grid(2 * len(grids[path]) - 1) for path in changed}
        open_ = {path: ts for path, ts in finer.items() if len(ts) <= limit}
        grids |= open_
    return grids
