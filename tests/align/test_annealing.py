"""Annealing: planted permutations, losses that never rise above the identity's, and the moves."""

from __future__ import annotations

from itertools import permutations, product
from math import log

import numpy as np
import pytest
import torch
from torch.nn import functional

from basins.align import annealing
from basins.align.permute import identity, permute, random_permutations
from basins.data.resident import normalise
from basins.nets import mlp
from tests.align.test_straight_through import rows

DATA = rows((4, 4, 1), count=30, classes=3)
PIXELS = normalise(DATA.images)


def network(seed: int, depth: int, width: int) -> mlp.MLP:
    """Return a perceptron whose weights are so large that its loss tells units apart."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = mlp.build((4, 4, 1), 3, depth=depth, width=width).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2)
    return net


@torch.no_grad()
def loss(net: mlp.MLP, moving, found, data=DATA) -> float:
    """Return the loss of the midpoint of a network and another, permuted."""
    state, spec = net.state_dict(), net.permutation_spec()
    moved = permute(moving, spec, found)
    middle = mlp.build((4, 4, 1), 3, depth=len(spec.groups), width=net.head.in_features)
    middle.load_state_dict({key: (tensor + moved[key]) / 2 for key, tensor in state.items()})
    return float(functional.cross_entropy(middle(PIXELS), data.labels))


def anneal(net: mlp.MLP, moving, seed: int = 0, data=DATA, **options):
    given = (net.state_dict(), moving, net.permutation_spec())
    drawn = np.random.default_rng(seed)
    return annealing.align(*given, generator=drawn, net=net, data=data, **options)


def test_finds_the_best_of_all_permutations():
    """Of two layers of three units there are 36."""
    net, moving = network(0, 2, 3), network(1, 2, 3).state_dict()
    orders = product(map(np.array, permutations(range(3))), repeat=2)
    losses = [
        loss(net, moving, dict(zip(net.permutation_spec().groups, pair, strict=True)))
        for pair in orders
    ]
    assert len(losses) == 36 and min(losses) < losses[0] - 1e-3
    found = anneal(net, moving, steps=250)
    assert loss(net, moving, found) == pytest.approx(min(losses), abs=1e-6)
    again = anneal(net, moving, steps=250)
    assert all(np.array_equal(found[group], again[group]) for group in found)


def test_a_planted_permutation_leaves_no_barrier():
    """The midpoint of a network and itself, its units in another order, is it again."""
    net = network(2, 1, 6)
    state, spec = net.state_dict(), net.permutation_spec()
    with torch.no_grad():
        data = DATA._replace(labels=net(PIXELS).argmax(1))
    moving = permute(state, spec, random_permutations(state, spec, np.random.default_rng(3)))
    still = identity(state, spec)
    floor = loss(net, state, still, data)
    assert loss(net, moving, still, data) > floor + 0.01
    found = anneal(net, moving, data=data, steps=500)
    assert loss(net, moving, found, data) < floor + 1e-3


def test_no_walk_ends_above_the_identity():
    """Even where every move is accepted; without steps the identity is what is left."""
    net, moving = network(4, 2, 4), network(5, 2, 4).state_dict()
    still = identity(moving, net.permutation_spec())
    for seed in range(5):
        found = anneal(net, moving, seed, steps=10, hot=1e9, cold=1e9)
        assert loss(net, moving, found) <= loss(net, moving, still) + 1e-6
    found = anneal(net, moving, steps=0)
    assert all(np.array_equal(found[group], still[group]) for group in still)


def test_a_constant_temperature_is_boltzmanns(monkeypatch):
    """Of two units, whose orders differ by T log 3 in loss, the better is there 3 of 4 times."""
    net, moving = network(0, 1, 2), network(1, 1, 2).state_dict()
    (group,) = net.permutation_spec().groups
    plain, swapped = (loss(net, moving, {group: np.array(o)}) for o in ((0, 1), (1, 0)))
    temperature = abs(swapped - plain) / log(3)
    tried = []

    def spy(state, spec, found):
        tried.append(tuple(found[group]))
        return permute(state, spec, found)

    monkeypatch.setattr(annealing, "permute", spy)
    anneal(net, moving, steps=2000, hot=temperature, cold=temperature)
    assert len(tried) == 2001 and tried[0] == (0, 1)
    # What is tried is the other order than the one that is there.
    worse = (1, 0) if swapped > plain else (0, 1)
    assert np.mean([order == worse for order in tried[1:]]) == pytest.approx(0.75, abs=0.03)
