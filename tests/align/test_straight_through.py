"""Straight-through matching: planted permutations, and midpoints of lower loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from basins.align import straight_through, weight_matching
from basins.align.permute import permute, random_permutations
from basins.data.resident import Resident, normalise
from basins.nets import mlp
from tests.align.conftest import FAMILIES


def rows(shape, count=60, classes=4, seed=0) -> Resident:
    stream = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, *shape), generator=stream, dtype=torch.uint8)
    return Resident(pixels, torch.randint(0, classes, (count,), generator=stream))


@pytest.mark.parametrize("name", ["mlp", "resnet8"])
def test_recovers_a_planted_permutation(name):
    family = FAMILIES[name]
    net = family.trained()
    state, spec = net.state_dict(), net.permutation_spec()
    planted = random_permutations(state, spec, np.random.default_rng(3))
    moving = permute(state, spec, planted)
    channels, height, width = family.shape
    found = straight_through.align(
        state,
        moving,
        spec,
        generator=np.random.default_rng(0),
        net=family.build(),
        data=rows((height, width, channels)),
        steps=3,
    )
    back = permute(moving, spec, found)
    assert all(torch.equal(back[key], tensor) for key, tensor in state.items())


def trained(seed: int, data: Resident):
    """Return a perceptron trained on the brightness of images' halves."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = mlp.build((4, 4, 1), 2, depth=2, width=12)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(200):
        optimiser.zero_grad()
        functional.cross_entropy(net(normalise(data.images)), data.labels).backward()
        optimiser.step()
    return net.eval()


def test_the_midpoint_has_a_lower_loss_than_that_of_weight_matching():
    data = rows((4, 4, 1), count=200)
    pixels = normalise(data.images)
    upper, lower = (part.mean((1, 2)) for part in pixels[:, 0].split(2, 1))
    data = data._replace(labels=(upper * lower > 0).long())
    nets = [trained(seed, data) for seed in (2, 3)]
    states, spec = [net.state_dict() for net in nets], nets[0].permutation_spec()

    def loss(permutations) -> float:
        moved = permute(states[1], spec, permutations)
        middle = {key: (tensor + moved[key]) / 2 for key, tensor in states[0].items()}
        net = mlp.build((4, 4, 1), 2, depth=2, width=12)
        net.load_state_dict(middle)
        return float(functional.cross_entropy(net(pixels), data.labels))

    def matched(steps: int, seed: int = 0):
        return straight_through.align(
            *states, spec, generator=np.random.default_rng(seed), net=nets[0], data=data,
            steps=steps, rate=0.02,
        )  # fmt: skip

    drawn = np.random.default_rng(0)
    by_weights = weight_matching.match(*states, spec, generator=drawn, restarts=1)
    first = matched(0)
    assert all(np.array_equal(first[g], p) for g, p in by_weights.permutations.items())
    found, again = matched(40), matched(40)
    assert all(np.array_equal(found[g], again[g]) for g in spec.groups)
    assert loss(found) < loss(first) - 0.02
