"""Merge trees and 0-dimensional persistence of sublevel sets, by union-find.

As the level rises, components are born at minima and merge at saddles; of two that merge, the one
born later dies (the elder rule). Its persistence is the difference of death and birth. A change of
the landscape changes births and deaths by at most its own size (Cohen-Steiner, Edelsbrunner and
Harer 2007), which distinguishes basins from noise.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from basins.errors import UserError


class Tree(NamedTuple):
    """Components in the order of their deaths; survivors come last, with death infinity.

    `minima` int [M] are the vertices at which they are born, `births` and `deaths` float64 [M].
    `parents` int [M] are the minima of the components into which they merge, and `saddles` int
    [M, 2] the edges at which they do, higher end second; both are -1 for survivors.
    """

    minima: np.ndarray
    births: np.ndarray
    deaths: np.ndarray
    parents: np.ndarray
    saddles: np.ndarray

    @property
    def persistence(self) -> np.ndarray:
        """The difference of death and birth of each component, float64 [M]."""
        return self.deaths - self.births


def of_graph(barriers: ArrayLike, births: ArrayLike = 0.0) -> Tree:
    """Return the single-linkage merge tree of vertices joined by symmetric `barriers` [N, N].

    `births`, [N] or a number, are the vertices' own values, which bound their edges from below.
    Every vertex is a component, even if it dies when it is born. A barrier of NaN is not an edge.
    Raises `UserError` if the barriers are not symmetric.
    """
    matrix = np.asarray(barriers, np.float64)
    if matrix.ndim != 2 or not np.allclose(matrix, matrix.T, equal_nan=True):
        raise UserError(f"merge tree: barriers of shape {matrix.shape} are not a symmetric matrix")
    values = np.broadcast_to(np.asarray(births, np.float64), len(matrix))
    edges = np.stack(np.triu_indices(len(matrix), 1), 1)
    heights = np.maximum(matrix[tuple(edges.T)], values[edges].max(1))
    return merge_tree(values, edges, heights)


def merge_tree(values: np.ndarray, edges: np.ndarray, heights: np.ndarray) -> Tree:
    """Return the merge tree of vertices born at `values` [V], joined by `edges` [E, 2].

    `heights` [E] are the levels at which edges appear, not below their ends; those that are not
    finite never appear. Of components born at the same level, the one with the lower vertex number
    is the elder.
    """
    ends = values[edges]
    edges = np.where((ends[:, 0] > ends[:, 1])[:, None], edges[:, ::-1], edges)
    root = np.arange(len(values))

    def find(vertex: int) -> int:
        while root[vertex] != vertex:
            root[vertex] = root[root[vertex]]
            vertex = int(root[vertex])
        return vertex

    dead = []
    for edge in np.argsort(heights, kind="stable"):
        if not np.isfinite(heights[edge]):
            break  # these come last
        ends = {find(vertex) for vertex in edges[edge].tolist()}
        if len(ends) == 2:
            elder, younger = sorted(ends, key=lambda vertex: (values[vertex], vertex))
            root[younger] = elder
            dead.append((younger, heights[edge], elder, *edges[edge]))
    left = [(vertex, np.inf, -1, -1, -1) for vertex in np.flatnonzero(root == np.arange(len(root)))]
    rows = np.array([*dead, *left], np.float64).reshape(-1, 5)
    minima, parents, first, second = rows[:, [0, 2, 3, 4]].astype(int).T
    return Tree(minima, values[minima], rows[:, 1], parents, np.stack([first, second], 1))


def significant(tree: Tree, noise: float) -> np.ndarray:
    """Return which components are basins that noise cannot explain, bool [M].

    `noise` bounds the error of any value. Errors of births and deaths have the same bound, so a
    persistence above twice the bound is not 0.
    """
    return tree.persistence > 2 * noise


def bottleneck(barriers: ArrayLike) -> np.ndarray:
    """Return the lowest barrier between any two models by way of others, float64 [N, N].

    It is the minimum, over all paths through other models, of the path's highest barrier, which is
    the height at which single linkage merges the two. A barrier of NaN is not an edge.
    """
    best = np.array(barriers, np.float64)
    best[np.isnan(best)] = np.inf
    np.fill_diagonal(best, 0)
    for k in range(len(best)):
        best = np.minimum(best, np.maximum(best[:, k, None], best[k]))
    return best
