"""Merge trees by hand, against `gudhi` and SciPy's single linkage, and the stability theorem."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import cophenet, single
from scipy.spatial.distance import squareform

from basins.errors import UserError
from basins.landscape import persistence, plane


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


def test_a_grid_by_hand():
    """Minima 0 and 1 apart; the way between them is 3 along a side, 2 across a corner."""
    grid = np.array([[0, 3, 9], [5, 2, 4], [9, 4, 1]], float)
    four, eight = persistence.of_grid(grid, 4), persistence.of_grid(grid, 8)
    assert diagram(four) == [(0, np.inf), (1, 4), (2, 3)]
    assert diagram(eight) == [(0, np.inf), (1, 2)]
    assert eight.minima.tolist() == [8, 0] and eight.saddles[0].tolist() == [8, 4]
    assert eight.parents.tolist() == [0, -1]


def test_points_without_a_value_are_walls():
    assert diagram(persistence.of_grid([[0, np.nan, 1]], 4)) == [(0, np.inf), (1, np.inf)]
    assert diagram(persistence.of_grid([[0, np.inf, 1]], 4)) == [(0, np.inf), (1, np.inf)]


def test_a_lattice_in_any_order():
    """Two basins, at models b and c; the graph of points one side apart has the same tree."""
    nodes = np.array(plane.nodes(8, 0.25))
    nodes = nodes[np.random.default_rng(0).permutation(len(nodes))]
    u, v = nodes[:, 1], nodes[:, 2]
    values = np.minimum((u - 1) ** 2 + v**2, (v - 1) ** 2 + u**2 + 0.1)
    tree = persistence.of_lattice(u, v, values)
    assert [(float(u[k]), float(v[k])) for k in tree.minima] == [(0, 1), (1, 0)]
    assert tree.deaths[0] == values[tree.saddles[0, 1]]

    places = nodes @ plane.corners(8, 8, 8)
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    touching = np.where(apart < 1.01, np.maximum(values[:, None], values), np.nan)
    graph = persistence.of_graph(touching, values)
    found = [pair for pair in diagram(graph) if pair[0] < pair[1]]
    assert found == diagram(tree)


@pytest.mark.parametrize("seed", range(4))
def test_grids_and_graphs_against_gudhi(seed):
    gudhi = pytest.importorskip("gudhi")
    random = np.random.default_rng(seed)
    grid = random.normal(size=(9, 13)).cumsum(0)
    # gudhi's cells are pixels that touch at corners, and vertices that do not.
    for connectivity, kind in ((8, "top_dimensional_cells"), (4, "vertices")):
        cells = gudhi.CubicalComplex(**{kind: grid})
        cells.persistence()
        expected = cells.persistence_intervals_in_dimension(0)
        assert diagram(persistence.of_grid(grid, connectivity)) == sorted(map(tuple, expected))

    lattice, steps = gudhi.SimplexTree(), 9
    for k, value in enumerate(grid.ravel()):
        lattice.insert([k], value)
    for k in range(grid.size):
        i, j = divmod(k, 13)
        for m, n in ((i, j + 1), (i + 1, j), (i + 1, j - 1)):
            if m < steps and 0 <= n < 13:
                lattice.insert([k, 13 * m + n], max(grid[i, j], grid[m, n]))
    lattice.persistence()
    expected = sorted(map(tuple, lattice.persistence_intervals_in_dimension(0)))
    assert diagram(persistence.of_grid(grid, 6)) == expected

    barriers, births = symmetric(7, seed), random.uniform(0, 0.3, 7)
    graph = gudhi.SimplexTree()
    for k, birth in enumerate(births):
        graph.insert([k], birth)
    for i, j in zip(*np.triu_indices(7, 1), strict=True):
        graph.insert([i, j], max(barriers[i, j], births[i], births[j]))
    graph.persistence(min_persistence=-1)
    expected = sorted(map(tuple, graph.persistence_intervals_in_dimension(0)))
    assert diagram(persistence.of_graph(barriers, births)) == expected


def test_what_noise_makes_is_not_significant():
    """One valley under noise: spurious minima by the dozen, none above twice the noise."""
    random = np.random.default_rng(0)
    x, y = np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 21))
    truth = x**2 + y**2
    noise = random.uniform(-0.1, 0.1, truth.shape)
    tree = persistence.of_grid(truth + noise)
    assert len(tree.minima) > 5
    assert persistence.significant(tree, np.abs(noise).max()).sum() == 1
    assert persistence.significant(tree, 0.01).sum() > 1


def test_the_noise_of_a_bootstrap_is_that_of_the_worst_value():
    resampled = np.zeros((100, 2, 3))
    resampled[:, 1, 2] = np.arange(100) / 100
    resampled[:, 0, 0] = -0.2
    assert persistence.sup_noise(np.zeros((2, 3)), resampled, 0.9) == pytest.approx(0.891)


def test_refuses_what_is_no_matrix_of_barriers():
    with pytest.raises(UserError, match="not a symmetric matrix"):
        persistence.of_graph([[0, 1], [2, 0]])
    with pytest.raises(UserError, match="whole lattice"):
        persistence.of_lattice([0, 0], [0, 1], [1, 2])
