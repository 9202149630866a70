"""Gradient ascent through Sinkhorn's iterations finds planted permutations and never harms."""

import itertools

import numpy as np
import pytest
import torch

from basins.align import sinkhorn
from basins.align.permute import identity, permute, random_permutations
from basins.align.universe import objective
from basins.errors import UserError
from basins.nets import mlp
from tests.align.conftest import FAMILIES

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("name", ["mlp", "resnet8", "bert"])
def test_recovers_a_planted_permutation(name):
    net = FAMILIES[name].trained()
    state, spec = net.state_dict(), net.permutation_spec()
    planted = random_permutations(state, spec, np.random.default_rng(3))
    moving = permute(state, spec, planted)
    found = sinkhorn.align(state, moving, spec, generator=RANDOM, steps=30)
    back = permute(moving, spec, found)
    assert all(torch.equal(back[key], tensor) for key, tensor in state.items())


@pytest.mark.parametrize("name", ["mlp", "resnet8"])
def test_better_than_no_alignment_and_repeats(name):
    states = [FAMILIES[name].trained(seed).state_dict() for seed in range(2)]
    spec = FAMILIES[name].build().permutation_spec()
    stay = identity(states[0], spec)
    found, again = (
        sinkhorn.align(*states, spec, generator=np.random.default_rng(k), steps=8) for k in (0, 1)
    )
    assert objective(states, spec, [stay, found]) > objective(states, spec, [stay, stay])
    assert all(np.array_equal(found[group], again[group]) for group in spec.groups)


def test_never_worse_than_the_identity():
    """One step, from the uniform mixture, would pair these units the wrong way round."""
    net = mlp.build((2, 1, 1), 2, depth=1, width=2)
    spec = net.permutation_spec()

    def state(first, last):
        return {
            "hidden.0.linear.weight": torch.tensor(first),
            "hidden.0.linear.bias": torch.zeros(2),
            "head.weight": torch.tensor(last),
            "head.bias": torch.zeros(2),
        }

    eye, zero = [[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]
    same = state(eye, zero)
    found = sinkhorn.align(same, same, spec, generator=RANDOM, steps=1)
    assert found["hidden.0"].tolist() == [0, 1]
    swapped = state(eye[::-1], zero)
    found = sinkhorn.align(same, swapped, spec, generator=RANDOM, steps=2)
    assert found["hidden.0"].tolist() == [1, 0]


def test_one_hidden_layer_is_matched_optimally():
    torch.manual_seed(0)
    states = [mlp.build((2, 2, 1), 3, depth=1, width=5).state_dict() for _ in range(2)]
    spec = mlp.build((2, 2, 1), 3, depth=1, width=5).permutation_spec()
    found = sinkhorn.align(*states, spec, generator=RANDOM)
    stay = identity(states[0], spec)
    every = [
        objective(states, spec, [stay, {"hidden.0": np.array(p)}])
        for p in itertools.permutations(range(5))
    ]
    assert objective(states, spec, [stay, found]) == pytest.approx(max(every))


def test_balanced_matrices_are_doubly_stochastic():
    scores = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(0)).double()
    for sharpness in (1, 5):
        matrix = sinkhorn.balanced(sharpness * scores, 500)
        torch.testing.assert_close(matrix.sum(1), torch.ones(3, 6).double(), rtol=0, atol=1e-4)
        torch.testing.assert_close(matrix.sum(2), torch.ones(3, 6).double(), rtol=0, atol=1e-9)
    two = sinkhorn.balanced(torch.tensor([[2.0, 0.0], [0.0, 0.0]]).double(), 300)
    share = np.e / (1 + np.e)  # a matrix [[a, 1-a], [1-a, a]] with (a / (1 - a))^2 = e^2
    torch.testing.assert_close(two, torch.tensor([[share, 1 - share], [1 - share, share]]).double())


def test_refuses_networks_of_different_width():
    a, b = (mlp.build((2, 2, 1), 3, depth=1, width=width) for width in (4, 5))
    with pytest.raises(UserError, match="match equal networks"):
        sinkhorn.align(a.state_dict(), b.state_dict(), a.permutation_spec(), generator=RANDOM)
