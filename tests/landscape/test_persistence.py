"""Merge trees by hand, against `gudhi` and SciPy's single linkage, and the stability theorem."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import cophenet, single
from scipy.spatial.distance import squareform

from basins.errors import UserError
from basins.landscape import persistence


def diagram(tree):
    return sorted(zip(tree.births.tolist(), tree.deaths.tolist(), strict=True))


def symmetric(n, seed):
    random = np.random.default_rng(seed)
    return squareform(random.uniform(0.1, 1, n * (n - 1) // 2))


def test_a_graph_by_hand():
    """0-1 at .1, 2-3 at .2, both at .5 over 1-2; the rest is higher."""
    barriers = np.array(
        [[0, 0.1, 0.9, 0.8], [0.1, 0, 0.5, 0.7], [0.9, 0.5, 0, 0.2], [0.8, 0.7, 0.2, 0]]
    )
    tree = persistence.of_graph(barriers)
    assert tree.minima.tolist() == [1, 3, 2, 0]
    assert tree.deaths.tolist() == [0.1, 0.2, 0.5, np.inf]
    assert tree.parents.tolist() == [0, 2, 0, -1]
    assert tree.saddles.tolist() == [[0, 1], [2, 3], [1, 2], [-1, -1]]
    assert persistence.significant(tree, 0.1).tolist() == [False, False, True, True]


def test_births_raise_edges_and_decide_who_is_elder():
    tree = persistence.of_graph([[0, 0.2], [0.2, 0]], births=[0.3, 0.1])
    assert tree.minima.tolist() == [0, 1]
    assert tree.deaths.tolist() == [0.3, np.inf]
    assert tree.saddles[0].tolist() == [1, 0]  # its higher end second


def test_pairs_without_a_barrier_are_no_edges():
    barriers = np.full((3, 3), np.nan)
    barriers[0, 1] = barriers[1, 0] = 0.4
    tree = persistence.of_graph(barriers)
    assert tree.deaths.tolist() == [0.4, np.inf, np.inf]
    assert sorted(tree.minima[1:].tolist()) == [0, 2]


@pytest.mark.parametrize("n", [2, 5, 12, 30])
def test_deaths_are_single_linkage(n):
    barriers = symmetric(n, seed=n)
    tree, linkage = persistence.of_graph(barriers), single(squareform(barriers))
    np.testing.assert_array_equal(tree.deaths[:-1], linkage[:, 2])
    heights = squareform(cophenet(linkage))
    for dead, parent, death in zip(tree.minima, tree.parents, tree.deaths, strict=True):
        assert death == np.inf or heights[dead, parent] == death


@pytest.mark.parametrize("seed", range(4))
def test_graphs_against_gudhi(seed):
    gudhi = pytest.importorskip("gudhi")
    barriers, births = symmetric(7, seed), np.random.default_rng(seed).uniform(0, 0.3, 7)
    graph = gudhi.SimplexTree()
    for k, birth in enumerate(births):
        graph.insert([k], birth)
    for i, j in zip(*np.triu_indices(7, 1), strict=True):
        graph.insert([i, j], max(barriers[i, j], births[i], births[j]))
    graph.persistence(min_persistence=-1)
    expected = sorted(map(tuple, graph.persistence_intervals_in_dimension(0)))
    assert diagram(persistence.of_graph(barriers, births)) == expected


def test_refuses_what_is_no_matrix_of_barriers():
    with pytest.raises(UserError, match="not a symmetric matrix"):
        persistence.of_graph([[0, 1], [2, 0]])
