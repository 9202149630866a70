"""Merge trees and 0-dimensional persistence of sublevel sets, by union-find.

As the level rises, components are born at minima and merge at saddles; of two that meet, the one
born later dies (the elder rule). Its persistence is how far it has to climb. A small change of the
landscape moves births and deaths by no more than itself (Cohen-Steiner, Edelsbrunner and Harer
2007), which tells basins from noise.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from basins.errors import UserError


class Tree(NamedTuple):
    """Components in the order of their deaths; whoever survives comes last, with death infinity.

    `minima` int [M] are the vertices they are born at, `births` and `deaths` float64 [M]. `parents`
    int [M] are the minima of the components that they die into, and `saddles` int [M, 2] the edge
    where they do, its higher end second; both are -1 for who survives.
    """

    minima: np.ndarray
    births: np.ndarray
    deaths: np.ndarray
    parents: np.ndarray
    saddles: np.ndarray

    @property
    def persistence(self) -> np.ndarray:
        """How far each component rises before it dies, float64 [M]."""
        return self.deaths - self.births


def of_graph(barriers: ArrayLike, births: ArrayLike = 0.0) -> Tree:
    """Return the single-linkage merge tree of vertices joined by symmetric `barriers` [N, N].

    `births` [N] or a number are the vertices' own values, below which no edge to them can be. Every
    vertex is a component, even one that dies as it is born. A barrier that is not a number is no
    edge. Raises `UserError` where the barriers are not symmetric.
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

    `heights` [E] are where edges appear, none below its ends; one that is not finite never does.
    Of components born at once the one of the lower vertex number is the elder.
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
    """Return which components are basins, bool [M], and not what noise could have made.

    `noise` bounds how far any value may be off. Then births and deaths are off by no more, so a
    persistence above twice that is not 0.
    """
    return tree.persistence > 2 * noise
