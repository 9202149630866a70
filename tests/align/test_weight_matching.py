import itertools

import numpy as np
import pytest
import torch

from basins.align import weight_matching
from basins.align.permute import permute, random_permutations
from basins.errors import UserError
from basins.nets import mlp


def distance(a, b):
    return sum(float((a[name].double() - b[name].double()).square().sum()) for name in a) ** 0.5


def planted(net, seed=3):
    state, spec = net.state_dict(), net.permutation_spec()
    return permute(state, spec, random_permutations(state, spec, np.random.default_rng(seed)))


def test_recovers_a_planted_permutation(family):
    net = family.trained()
    state, spec, moving = net.state_dict(), net.permutation_spec(), planted(net)
    assert distance(state, moving) > 1
    found = weight_matching.align(state, moving, spec, generator=np.random.default_rng(0))
    assert distance(state, permute(moving, spec, found)) == 0


def test_recovers_it_under_noise(family):
    net = family.trained()
    state, spec = net.state_dict(), net.permutation_spec()
    noise = torch.Generator().manual_seed(5)
    moving = {
        name: tensor + 0.02 * torch.randn(tensor.shape, generator=noise)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in planted(net).items()
    }
    found = weight_matching.align(state, moving, spec, generator=np.random.default_rng(0))
    assert distance(state, permute(planted(net), spec, found)) == 0


def test_the_objective_gives_the_distance(family):
    """|a - b|^2 = |a|^2 + |b|^2 - 2 objective, over the weights that the spec names."""
    a, b = family.trained(0), family.trained(1)
    spec = a.permutation_spec()
    states = a.state_dict(), b.state_dict()
    permutations, objective = weight_matching.match(
        *states, spec, generator=np.random.default_rng(0), restarts=2
    )
    names = {axis.tensor for axes in spec.groups.values() for axis in axes}
    names = {name for name in names if "running" not in name}
    ours, theirs = ({name: state[name] for name in names} for state in states)
    zeros = {name: torch.zeros_like(tensor) for name, tensor in ours.items()}
    moved = permute(states[1], spec, permutations)
    squared = distance(ours, {name: moved[name] for name in names}) ** 2
    expected = distance(ours, zeros) ** 2 + distance(theirs, zeros) ** 2 - 2 * objective
    assert squared == pytest.approx(expected, rel=1e-9)
    assert squared < distance(ours, theirs) ** 2


def test_no_group_alone_can_gain(family):
    states = [family.trained(seed).state_dict() for seed in range(2)]
    spec = family.build().permutation_spec()
    found, reached = weight_matching.match(
        *states, spec, generator=np.random.default_rng(0), restarts=3
    )
    for group, permutation in found.items():
        for i, j in itertools.pairwise(range(len(permutation))):
            swapped = permutation.copy()
            swapped[[i, j]] = permutation[[j, i]]
            other = inner_product(
                states[0], permute(states[1], spec, found | {group: swapped}), spec
            )
            assert other <= reached * (1 + 1e-10)


def inner_product(a, b, spec):
    names = {axis.tensor for axes in spec.groups.values() for axis in axes}
    return sum(
        float((a[name].double() * b[name].double()).sum())
        for name in names
        if "running" not in name
    )


def test_one_hidden_layer_is_matched_optimally():
    torch.manual_seed(0)
    a, b = (mlp.build((2, 2, 1), 3, depth=1, width=5) for _ in range(2))
    spec = a.permutation_spec()
    states = a.state_dict(), b.state_dict()
    found = weight_matching.align(*states, spec, generator=np.random.default_rng(0), restarts=1)
    every = [
        distance(states[0], permute(states[1], spec, {"hidden.0": np.array(p)}))
        for p in itertools.permutations(range(5))
    ]
    assert distance(states[0], permute(states[1], spec, found)) == pytest.approx(min(every))


def test_more_restarts_are_never_worse_and_seeds_decide(family):
    a, b = family.trained(0).state_dict(), family.trained(1).state_dict()
    spec = family.build().permutation_spec()

    def match(restarts):
        generator = np.random.default_rng(1)
        return weight_matching.match(a, b, spec, generator=generator, restarts=restarts)

    one, again, many = match(1), match(1), match(4)
    assert one.objective == again.objective
    assert all(np.array_equal(one.permutations[g], again.permutations[g]) for g in spec.groups)
    assert many.objective >= one.objective


def test_equal_networks_stay_as_they_are(family):
    net = family.trained()
    state, spec = net.state_dict(), net.permutation_spec()
    found = weight_matching.align(
        state, state, spec, generator=np.random.default_rng(0), restarts=1
    )
    assert all(np.array_equal(p, np.arange(len(p))) for p in found.values())


def test_refuses_networks_of_different_width():
    a, b = (mlp.build((2, 2, 1), 3, depth=1, width=width) for width in (4, 5))
    states = a.state_dict(), b.state_dict()
    with pytest.raises(UserError, match="match equal networks"):
        weight_matching.align(*states, a.permutation_spec(), generator=np.random.default_rng(0))


def test_refuses_a_diverged_network():
    net = mlp.build((2, 2, 1), 3, depth=1, width=4)
    state = net.state_dict()
    broken = state | {"head.weight": torch.full((3, 4), torch.nan)}
    with pytest.raises(UserError, match="'head.weight' is not finite"):
        weight_matching.align(
            state, broken, net.permutation_spec(), generator=np.random.default_rng(0)
        )
