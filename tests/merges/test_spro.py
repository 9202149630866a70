"""Volumes by hand, complexes that grow by their weight, and the loss that stays low in them."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from basins.data.resident import normalise
from basins.errors import UserError
from basins.merges import simplicial, spro
from tests.merges.conftest import CLASSES, images, numbers

A, B, C = (numbers(k, 36) for k in range(3))
NAME = "head.weight"


def points(*rows: tuple[float, ...]) -> list[dict[str, Tensor]]:
    tensors = map(torch.tensor, rows)
    return [{"a": row[:1].float(), "b": row[1:].float()} for row in tensors]


def volume(*rows: tuple[float, ...]) -> float:
    return float(spro.squared_volume(points(*rows), ["a", "b"]).sqrt())


def test_volumes_by_hand():
    """A point, a length, half of 3 by 4, a sixth of a cuboid, and the regular tetrahedron."""
    assert volume((1, 2, 3)) == pytest.approx(1)
    assert volume((0, 0, 0), (1, 2, 2)) == pytest.approx(3)
    assert volume((5, 5, 5), (8, 5, 5), (5, 9, 5)) == pytest.approx(6)
    assert volume((0, 0, 0), (2, 0, 0), (0, 3, 0), (0, 0, 5)) == pytest.approx(5)
    regular = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
    assert volume(*regular) == pytest.approx(sqrt(8) ** 3 / (6 * sqrt(2)))
    assert volume((0, 0, 0), (1, 1, 1), (3, 3, 3)) < 1e-4  # flat
    corners = points((0, 0, 0), (3, 0, 0), (1, 4, 0))
    apex = {name: tensor.requires_grad_() for name, tensor in corners[2].items()}
    spro.squared_volume(corners, ["a", "b"]).sqrt().backward()
    # Half the base, away from it.
    assert torch.cat([t.grad for t in apex.values()]).tolist() == pytest.approx([0, 1.5, 0])


def loss(states) -> float:
    """Return the mean loss of members, each alone."""
    rows = normalise(images(40).images).flatten(1)
    said = [functional.cross_entropy(rows @ s[NAME].T, images(40).labels) for s in states]
    return float(torch.stack(said).mean())


def test_without_steps_members_lie_between_the_networks_and_their_mean(make):
    weights = [A, B, 3 * C]
    found = spro.merge(make(weights), members=600, vertices=1, steps=0)
    mean = sum(weights) / 3
    counts = [0, 0, 0]
    for state in found:
        (network, share), (vertex, rest) = state.parts
        (k,) = [k for k, w in enumerate(weights) if torch.equal(network[NAME].flatten(), w)]
        counts[k] += 1
        torch.testing.assert_close(vertex[NAME].flatten(), mean)
        torch.testing.assert_close(state[NAME].flatten(), share * weights[k] + rest * mean)
    lengths = torch.stack([(w - mean).norm() for w in weights])
    assert [c / 600 for c in counts] == pytest.approx((lengths / lengths.sum()).tolist(), abs=0.06)


def test_the_complex_grows_by_its_weight_and_its_loss_stays_low(make):
    sizes, losses = [], []
    for weight in (0.0, 0.1, 0.3):
        found = spro.merge(make([A, B]), volume=weight, steps=30, members=100)
        _, *added = (corner for corner, _ in found[0].parts)
        corners = [[{NAME: w.view(CLASSES, 12)}, *added] for w in (A, B)]
        sizes.append(sum(float(spro.squared_volume(c, [NAME]).sqrt()) for c in corners))
        losses.append(loss(found))
    assert 3 * sizes[0] < sizes[1] < sizes[2] / 1.5
    untrained = spro.merge(make([A, B]), steps=0, members=100)
    assert losses[0] < loss(untrained) - 0.1
    assert losses[0] < loss(simplicial.merge(make([A, B]), members=100)) - 0.1
    assert losses[1] < loss(untrained)


def test_members_are_of_all_simplices_and_repeat(make):
    found, again, other = (spro.merge(make([A, B], seed=s), steps=3, members=20) for s in (3, 3, 4))
    assert all(torch.equal(a[NAME], b[NAME]) for a, b in zip(found, again, strict=True))
    assert not torch.equal(found[0][NAME], other[0][NAME])
    firsts = {float(state.parts[0][0][NAME][0, 0]) for state in found}
    assert firsts == {float(A[0]), float(B[0])}
    assert all(len(state.parts) == 3 for state in found)
    with pytest.raises(UserError, match="step .*: the loss is .*; lower the rate"):
        spro.merge(make([A, B]), rate=1e38)
