"""Adaptive grids along paths: doubled until barriers stop changing, without an error bound.

A grid's barrier is a lower bound of the path's, and an upper bound would require knowing how fast
the loss may change. That two successive grids agree is evidence, not proof, and weak evidence if
the maximum is in the middle, as it often is, since every grid has a point there. Starting from five
points instead of three costs four evaluations and detects more.
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
    """Double each path's grid until none of its barriers changes by `tolerance` or more.

    A path with a loss that is not finite has no barrier and is not refined. See the
    operationalisation of the SoK, section 1.4.

    Args:
        paths: the paths whose grids are refined.
        losses: `losses(grids)` returns mean losses [curves, T] of each path on its grid, which
            contains its previous grid; it is called for all unfinished paths at once.
        barrier: `barrier(t, losses)`, one of `landscape.barriers`.
        start: the number of points of the first grid.
        tolerance: in the losses' unit.
        limit: the most points that a grid may have.

    Returns:
        The last grid of each path.

    Raises:
        UserError: `limit` does not allow a second grid.
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
