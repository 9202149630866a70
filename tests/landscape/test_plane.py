"""Planes have their models on the lattice, their true proportions, and the engine's losses."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
import torch

from basins.errors import UserError
from basins.item import get
from basins.landscape import plane
from basins.nets import checkpoint
from basins.paths import points
from basins.paths.plan import Curve
from tests.paths.conftest import data
from tests.paths.test_points import by_hand, models, nothing, sets

__all__ = ["data", "models", "sets"]  # fixtures


def run(items, title):
    return [get(item, nothing) for item in items]


@pytest.mark.parametrize(
    ("steps", "margin", "count"), [(1, 0, 3), (2, 0, 6), (4, 0.5, 57), (3, 1, 73), (3, 0.5, 25)]
)
def test_the_models_are_on_the_lattice_which_treats_them_alike(steps, margin, count):
    points = plane.nodes(steps, margin)
    assert len(points) == len(set(points)) == count
    assert [p for p in points if max(p) == 1 and min(p) == 0 == sum(map(abs, p)) - 1] == [
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
    ]
    for order in permutations(range(3)):
        assert {tuple(p[k] for k in order) for p in points} == set(points)
    np.testing.assert_allclose(np.sum(points, axis=1), 1)
    np.testing.assert_allclose(np.array(points) * steps, np.rint(np.array(points) * steps))
    assert -margin <= np.min(points) and np.max(points) <= 1 + margin


def test_a_picture_is_an_isometry():
    """Distances between points of the picture are those between the mixed weights."""
    weights = np.random.default_rng(0).normal(size=(3, 50)) * [[1], [2], [5]]
    points = np.array(plane.nodes(3, 0.7))
    ab, ac, bc = (float(np.linalg.norm(x - y)) for x, y in combinations(weights, 2))
    drawn, mixed = points @ plane.corners(ab, ac, bc), points @ weights
    for picture, space in zip(drawn, mixed, strict=True):
        np.testing.assert_allclose(
            np.linalg.norm(drawn - picture, axis=1), np.linalg.norm(mixed - space, axis=1)
        )


def test_the_corners_are_those_of_gram_and_schmidt():
    a, b, c = np.random.default_rng(1).normal(size=(3, 20))
    first, second = b - a, c - a
    unit = first / np.linalg.norm(first)
    rest = second - (second @ unit) * unit
    expected = [[0, 0], [np.linalg.norm(first), 0], [second @ unit, np.linalg.norm(rest)]]
    found = plane.corners(*(float(np.linalg.norm(x - y)) for x, y in ((a, b), (a, c), (b, c))))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_array_equal(plane.corners(3, 4, 5), [[0, 0], [3, 0], [0, 4]])


@pytest.mark.parametrize(
    ("distances", "message"),
    [((0, 1, 1), "same weights"), ((1, 1, 0), "same weights"), ((1, 3, 2), "one line")],
)
def test_three_models_that_span_no_plane_are_refused(distances, message):
    with pytest.raises(UserError, match=message):
        plane.corners(*distances)


def test_every_point_is_evaluated_as_the_engine_does(models, sets):
    pieces: list[points.Points] = []

    def counted(items, title):
        pieces.extend(items)
        return run(items, title)

    found = plane.evaluate(models, 2, 0.5, sets, counted)
    assert found.points == plane.nodes(2, 0.5)
    assert sum(len(piece.points) for piece in pieces) == len(found.points) == 18
    assert max(len(piece.points) for piece in pieces) <= plane.AT_ONCE
    losses = np.stack([e.losses for e in found.curves["reset", "test"]])
    expected = by_hand(Curve(tuple(models), found.points), sets)
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-4)

    trained = [
        torch.cat([p.detach().flatten() for p in checkpoint.load(m.model).parameters()])
        for m in models
    ]
    where = dict(zip(found.points, found.positions, strict=True))
    corners = [where[point] for point in plane.nodes(1, 0)]
    for (x, place), (y, other) in combinations(zip(trained, corners, strict=True), 2):
        assert np.linalg.norm(place - other) == pytest.approx(float(torch.dist(x, y)), rel=1e-5)


def test_a_model_twice_is_refused(models, sets):
    with pytest.raises(UserError, match="same weights"):
        plane.evaluate([models[0], models[1], models[1]], 2, 0, sets, run)
