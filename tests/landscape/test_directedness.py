"""Tests of directedness on losses and trajectories that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from basins.errors import UserError
from basins.landscape import directedness
from tests.landscape.analytic import terrain, values


def bowl(w):
    return 1 + (w**2).sum()


def wells(w):
    return 1 + (w[0] ** 2 - 1) ** 2


def tilted(w):
    """On the odd set the loss falls with the first weight alone."""
    return 8 - w[0]


def test_a_violation_is_the_highest_rise():
    assert directedness.violation([3, 2, 1, 0]) == 0
    assert directedness.violation([3, 1, 2, 0, 1.5]) == 1.5
    assert directedness.violation([0, 4, 2]) == 4


def test_lines_trees_and_walks():
    d = np.array([[1.0, 0, 0], [2.0, 0, 0], [0.5, 0, 0]])
    assert directedness.straightness(d @ d.T) == pytest.approx(1)
    assert directedness.participation(d @ d.T) == pytest.approx(1)
    there_and_back = np.array([[1.0, 0], [-1.0, 0]])
    assert directedness.straightness(there_and_back @ there_and_back.T) == 0
    assert directedness.straightness(np.eye(4)) == pytest.approx(0.5)
    square = np.array([[1.0, 0], [0, 1.0], [-1.0, 0]])
    points = np.cumsum([[0, 0], *square], axis=0)
    spread = np.linalg.eigvalsh(np.cov(points.T))
    expected = spread.sum() ** 2 / (spread**2).sum()
    assert directedness.participation(square @ square.T) == pytest.approx(expected)
    lengths = np.array([1.0, 3.0, 0.2])
    products = directedness.walk(lengths, 4000, np.random.default_rng(0))
    np.testing.assert_allclose(np.diag(products), lengths**2)
    assert abs(products[0, 1]) < 0.1 * 3


def test_what_starts_share_is_the_base():
    starts = [torch.tensor([1.0, 2.0, 3.0, k]) for k in (5.0, 6.0)]
    assert directedness.common(starts).tolist() == [1, 2, 3, 0]
    assert directedness.common([torch.randn(9), torch.randn(9)]) is None


def test_lines_from_the_start():
    ends = [[1.0], [1.0]]
    rows = directedness.measure(terrain(wells, ends, starts=[[-1.0], [0.0]]), test="C1", points=3)
    assert values(rows, "violation") == pytest.approx([1, 0], abs=1e-6)
    assert values(rows, "loss from the start", models="net/seed0") == pytest.approx([1, 2, 1])


def test_trajectories_beside_walks_of_the_same_steps():
    far = [[float(i == j) * 9 for j in range(40)] for i in range(2)]
    half = [[x / 3 for x in w] for w in far]
    ground = terrain(bowl, far, starts=[[0.0] * 40] * 2, early={5: half})
    rows = directedness.measure(ground, test="C2", nulls=40)
    assert values(rows, "straightness", null=0) == pytest.approx([1, 1])
    assert values(rows, "cosine to the end", x=0) == pytest.approx([1, 1])
    assert values(rows, "cosine to the end", x=5) == pytest.approx([1, 1])
    nulls = values(rows, "straightness", null=1)
    # Steps of 3 and 6: at a right angle, the root of 45 over 9.
    assert len(nulls) == 40 and np.mean(nulls) == pytest.approx(45**0.5 / 9, abs=0.03)
    assert np.mean(values(rows, "participation ratio", null=1)) > 1.2
    still = directedness.measure(terrain(bowl, far, starts=half), test="C2")
    assert still == []


def test_in_a_round_bowl_gradients_point_to_the_end():
    ground = terrain(bowl, [[0.0, 0.0]] * 2, starts=[[3.0, 4.0], [0.0, 1.0]])
    rows = directedness.measure(ground, test="C3")
    for quantity, expected in (("rsi", 2), ("eb", 2), ("gamma", 1), ("share positive", 1)):
        assert values(rows, quantity) == pytest.approx([expected] * 2, rel=1e-4)
    behind = terrain(lambda w: 20 - (w**2).sum(), [[0.0]], starts=[[1.0]])
    assert values(directedness.measure(behind, test="C3"), "rsi") == pytest.approx([-2], rel=1e-4)


def clustered(other):
    """Six models a side, 2 apart in the first of many weights, and noise in the others."""
    drawn = np.random.default_rng(1).normal(size=(12, 30)) * 0.3
    drawn[:, 0] = np.repeat([1.0, -1.0], 6)
    return terrain(bowl, drawn.tolist(), other=other, labels=[0] * 6 + [1] * 6)


def test_a_planted_direction_beats_both_nulls():
    rows = directedness.measure(clustered(tilted), test="C4", diagnostic="odd", nulls=100)
    slopes = values(rows, "slope", null=0)
    assert slopes == pytest.approx([2] * 12, rel=1e-3)  # towards those who are better there
    assert values(rows, "r2") == pytest.approx([1] * 12, abs=1e-4)
    for group in ("shuffled labels", "random direction"):
        nulls = values(rows, "slope", group=group, null=1)
        assert np.quantile(nulls, 0.975) < 1.9
    assert len(nulls) == 12 * 100
    shuffled = values(rows, "slope", group="shuffled labels")
    assert len(shuffled) == 2 * 6 * 18  # C(6, 3) - 2 groups of either half


def test_a_direction_that_means_nothing_stays_among_its_nulls():
    """Clusters that were drawn by chance: on the odd set only an unrelated weight counts."""
    drawn = np.random.default_rng(2).normal(size=(12, 30))
    ground = terrain(bowl, drawn.tolist(), other=lambda w: 8 - w[7], labels=[0, 1] * 6)
    rows = directedness.measure(ground, test="C4", diagnostic="odd", nulls=100)
    high = np.quantile(values(rows, "slope", group="shuffled labels"), 0.975)
    assert np.mean(values(rows, "slope", null=0)) < high


def test_one_cluster_has_no_direction():
    ground = clustered(tilted)._replace(tables={})
    assert directedness.measure(ground, test="C4", diagnostic="odd") == []
    with pytest.raises(UserError, match="'hans' is not one of eval_sets: test, odd"):
        directedness.measure(ground, diagnostic="hans")


def test_task_vectors_that_touch_other_weights_add_up():
    def apart(w):
        return 3 + (w[0] - 1) ** 2 + (w[1] - 2) ** 2

    ends = [[1.0, 0.0, 5.0], [0.0, 2.0, 5.0]]
    rows = directedness.measure(terrain(apart, ends, starts=[[0.0, 0, 5]] * 2), test="C5")
    assert values(rows, "additivity") == pytest.approx([0], abs=1e-5)
    assert values(rows, "cosine") == pytest.approx([0], abs=1e-6)
    assert values(rows, "loss of a task vector") == pytest.approx([-1, -4], rel=1e-5)
    rows = directedness.measure(
        terrain(lambda w: 3 + (w[0] * w[1]), ends, starts=[[0.0, 0, 5]] * 2), test="C5"
    )
    assert values(rows, "additivity") == pytest.approx([2], rel=1e-5)
    strangers = [torch.randn(3).tolist() for _ in range(2)]
    assert directedness.measure(terrain(apart, ends, starts=strangers), test="C5") == []


def test_a_slope_is_an_asymmetry():
    ground = terrain(bowl, [[1.0, 0.0], [3.0, 0.0]])
    rows = directedness.measure(ground, test="C6", reach=0.5)
    # L(x + r v) - L(x - r v) = 4 r x v, v to the other model.
    assert values(rows, "asymmetry", null=0, x=0.5) == pytest.approx([4, -12], rel=1e-5)
    assert values(rows, "asymmetry", null=0, x=0.25) == pytest.approx([2, -6], rel=1e-5)
    assert len(values(rows, "asymmetry", null=1)) == 4
