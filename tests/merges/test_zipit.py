"""Merging a network with itself, with a permuted copy, and networks with units to spare."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from basins.align.permute import permute, random_permutations
from basins.merges import zipit
from basins.merges.sources import Sources
from basins.nets import mlp
from basins.registry import check_options
from tests.align.conftest import FAMILIES


class Given(NamedTuple):
    """Unlabelled batches, as examples."""

    inputs: list[Tensor]
    order: None = None
    merge: None = None

    def batches(self):
        for inputs in self.inputs:
            yield (inputs,), torch.zeros(len(inputs), dtype=torch.long)


def sources(net, states, inputs):
    return Sources(states, None, net, Given(inputs), np.random.default_rng(0))


def function(family, state):
    net = family.build().eval()
    net.load_state_dict(state)
    return family.logits(net)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_and_itself_or_a_permuted_copy_are_that_network(name):
    family = FAMILIES[name]
    net = family.trained()
    state, spec = net.state_dict(), net.permutation_spec()
    other = permute(state, spec, random_permutations(state, spec, np.random.default_rng(3)))
    inputs = [family.inputs(7), *(family.inputs(seed) for seed in range(4))]
    for states in ([state, state], [state, other], [state, other, state]):
        before = [{key: tensor.clone() for key, tensor in s.items()} for s in states]
        (merged,) = zipit.merge(sources(net, states, inputs))
        torch.testing.assert_close(
            function(family, merged), function(family, state), rtol=1e-4, atol=1e-4
        )
        for old, new in zip(before, states, strict=True):
            assert all(torch.equal(old[key], new[key]) for key in old)


def doubled(seed, units=5):
    """Return an MLP every unit of which is there twice, reading in halves."""
    torch.manual_seed(seed)
    small = mlp.build((2, 3, 1), 4, depth=1, width=units).state_dict()
    small["hidden.0.linear.bias"] += 1  # so that no unit is dead
    return {
        "hidden.0.linear.weight": small["hidden.0.linear.weight"].repeat(2, 1),
        "hidden.0.linear.bias": small["hidden.0.linear.bias"].repeat(2),
        "head.weight": small["head.weight"].repeat(1, 2) / 2,
        "head.bias": small["head.bias"],
    }


def test_two_networks_with_units_to_spare_become_their_ensemble():
    """Twins merge within, so both fit, and logits are averaged; matching one to one cannot."""
    net = mlp.build((2, 3, 1), 4, depth=1, width=10)
    states, images = [doubled(0), doubled(1)], torch.randn(200, 1, 2, 3)

    def logits(state):
        net.load_state_dict(state)
        with torch.no_grad():
            return net(images)

    expected = (logits(states[0]) + logits(states[1])) / 2
    given = sources(net, states, [images])
    (free,) = zipit.merge(given)
    torch.testing.assert_close(logits(free), expected, rtol=0, atol=1e-5)
    (bound,) = zipit.merge(given, within=0.0)
    assert (logits(bound) - expected).abs().max() > 0.05


def blocks(matrix, size):
    """Cut correlations of all units into those of pairs of networks."""
    starts = range(0, len(matrix), size)
    return {
        (i // size, j // size): matrix[i : i + size, j : j + size]
        for i in starts
        for j in starts
        if i <= j
    }


def correlated(pairs, count=4):
    matrix = np.eye(count)
    for (a, b), value in pairs.items():
        matrix[a, b] = matrix[b, a] = value
    return matrix


def test_features_by_hand():
    """Units 0, 1 of one network and 2, 3 of the other: 0-2 first, then 1-3, not 0-1."""
    pairs = {(0, 2): 0.9, (0, 1): 0.85, (1, 2): 0.8, (1, 3): 0.3, (2, 3): 0.2, (0, 3): 0.2}
    given = blocks(correlated(pairs), 2)
    # Feature {0, 2} is correlated with 1 by min(.85, .8), and .1 of that is less than .3.
    assert zipit.zipped(given, 2, repeat=0.1, within=1.0).tolist() == [[0, 1], [0, 1]]
    assert zipit.zipped(given, 2, repeat=1.0, within=1.0).tolist() == [[0, 0], [0, 1]]


def test_how_many_are_merged_within():
    """Both networks have twins, and no unit in common; the budget counts by network."""
    pairs = {(0, 1): 0.9, (2, 3): 0.8, (0, 2): 0.1, (1, 3): 0.05}
    given = blocks(correlated(pairs), 2)
    assert zipit.zipped(given, 2, repeat=0.1, within=1.0).tolist() == [[0, 0], [1, 1]]
    assert zipit.zipped(given, 2, repeat=0.1, within=0.0).tolist() == [[0, 1], [0, 1]]
    wide = blocks(correlated({(0, 1): 0.9, (2, 3): 0.8, (0, 4): 0.7, (1, 5): 0.6}, 8), 4)
    found = zipit.zipped(wide, 2, repeat=0.5, within=0.25)
    assert found[0, 0] == found[0, 1] and found[0, 2] != found[0, 3]
    assert len(np.unique(found)) == 4


@pytest.mark.parametrize("within", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("repeat", [0.0, 0.5])
def test_as_many_features_as_a_network_has_units(within, repeat):
    """Whatever three networks' correlations are and the options forbid."""
    activations = np.random.default_rng(0).normal(size=(9, 3 * 6))
    given = blocks(np.corrcoef(activations.T), 6)
    found = zipit.zipped(given, 3, repeat=repeat, within=within)
    assert np.unique(found).tolist() == list(range(6))


def test_units_that_never_change_are_alike():
    matrix = correlated({(0, 2): 0.5})
    matrix[1, 1] = matrix[3, 3] = 0
    found = zipit.zipped(blocks(matrix, 2), 2, repeat=0.1, within=1.0)
    assert found.tolist() == [[0, 1], [0, 1]]


def test_the_options():
    check_options(zipit.merge, {"repeat": 0.5, "within": 0.2}, "zipit")
