"""Directions are normalised by filter, or those in which a known loss curves most."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from basins.data.resident import Resident
from basins.errors import UserError
from basins.item import get
from basins.landscape import plane
from basins.landscape.directions import Displaced, directions
from basins.landscape.lanczos import lanczos
from basins.nets import checkpoint
from basins.paths.engine import Engine
from basins.training.sample import Sample
from basins.weights import flatten
from tests.landscape.test_plane import run
from tests.paths.conftest import data
from tests.paths.test_points import models, nothing, sets

__all__ = ["data", "models", "sets"]  # fixtures


def test_the_leading_vectors_of_a_known_matrix():
    random = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 20)))
    matrix = random + random.T
    values, vectors = np.linalg.eigh(matrix.numpy())
    found = lanczos(lambda v: matrix @ v, torch.ones(20, dtype=torch.double), 20).leading(2)
    for k, vector in enumerate(found.numpy()):
        assert abs(vector @ vectors[:, -1 - k]) == pytest.approx(1)
        assert np.abs(vector).max() == vector.max()


@pytest.mark.parametrize("factor", [np.nan, np.inf, 1e30])  # the square of the last overflows
def test_products_that_are_not_finite_are_one_line(factor):
    with pytest.raises(UserError, match="step 1: a Hessian-vector product is not finite; .*other"):
        lanczos(lambda v: factor * v.flip(0), torch.tensor([1.0, 2.0, 3.0]), 3)


class Valley(nn.Module):
    """Logits whose loss is steep in the second weight and less so in the first."""

    def __init__(self, curve=torch.square):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1, 4))
        self.register_buffer("running", torch.zeros(3))
        self.curve = curve

    def forward(self, images):
        curved = (torch.tensor([2.0, 9.0, 0.5, 0.1]) * self.curve(self.w[0])).sum()
        wanted = (0.1 + curved).expand(len(images))
        return torch.stack([torch.zeros_like(wanted), wanted.expm1().log()], dim=1)


def test_the_hessians_directions_are_those_of_the_highest_curvature():
    """Cross-entropy of label 0 under those logits is the potential, whose Hessian is diagonal."""
    engine = Engine(Valley())
    images = Resident(torch.zeros(3, 2, 2, 3, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64))
    found = directions("hessian", engine, engine.flat.vector.clone(), images, 2, "x")
    expected = torch.zeros(2, 7)
    expected[0, engine.flat.places["w"].start + 1] = 1
    expected[1, engine.flat.places["w"].start] = 1
    torch.testing.assert_close(torch.stack(found), expected, atol=1e-4, rtol=0)


def test_a_network_whose_hessian_is_not_finite_has_no_directions_of_it():
    """Of weights to the power of 1.5, which are 0."""
    engine = Engine(Valley(lambda w: w.abs() ** 1.5))
    images = Resident(torch.zeros(3, 2, 2, 3, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(UserError, match="a Hessian-vector product is not finite"):
        directions("hessian", engine, engine.flat.vector.clone(), images, 1, "x")


def test_random_directions_are_as_long_as_each_filter(models):
    net = checkpoint.load(models[0].model)
    state, engine = flatten(net.state_dict()).clone(), Engine(net)
    first, second = directions("random", engine, state, Resident(*[torch.zeros(0)] * 2), 2, "x")
    for name, parameter in net.named_parameters():
        place = engine.flat.places[name]
        if parameter.ndim == 1:
            assert not first[place].any()
        else:
            rows, like = (v[place].view(len(parameter), -1).norm(dim=1) for v in (first, state))
            torch.testing.assert_close(rows, like)
    assert not first[~engine.flat.trained].any()
    assert not torch.equal(first, second)
    again, _ = directions("random", engine, state, Resident(*[torch.zeros(0)] * 2), 2, "x")
    assert torch.equal(first, again)


@pytest.mark.parametrize("count", [1, 2])
def test_a_plane_of_fewer_models_goes_both_ways(count, models, sets):
    """Its points are the first model plus multiples of the directions, on a parallelogram."""
    sample = Sample(sets.data, 64)
    rest = (0.5, sample, sets.fingerprint, sets.device)
    work = [Displaced(models[0], "random", number, *rest) for number in range(count)]
    further = [get(item, nothing) for item in work]
    controls = [*models[: 3 - count], *further]
    found = plane.evaluate(controls, 2, 0.5, sets, run, count)
    us, vs = (sorted({point[k] for point in found.points}) for k in (1, 2))
    assert vs == [-1, -0.5, 0, 0.5, 1]
    assert us == ([-1, -0.5, 0, 0.5, 1] if count == 2 else [-0.5, 0, 0.5, 1, 1.5])
    assert len(found.points) == 25
    flat = [flatten(checkpoint.load(c.model).state_dict()) for c in controls]
    mixed = np.array(found.points) @ torch.stack(flat).double().numpy()
    expected = np.linalg.norm(mixed - mixed[0], axis=1)
    assert np.linalg.norm(found.positions - found.positions[0], axis=1) == pytest.approx(
        expected,
        rel=0.05,  # running statistics are no part of distances
    )
    engine = Engine(checkpoint.load(models[0].model))
    apart = (flat[-1] - flat[0])[engine.flat.trained].double().norm()
    origin, ahead = (found.positions[found.points.index((1 - v, 0.0, v))] for v in (0.0, 1.0))
    assert np.linalg.norm(ahead - origin) == pytest.approx(float(apart), rel=1e-5)
