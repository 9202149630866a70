import numpy as np
import pytest
import torch

from basins.align import activation_matching, activations
from basins.align.permute import permute, random_permutations
from basins.errors import UserError
from basins.nets import mlp


def planted(net, build, seed=3):
    """Return a network of the same function with its units in another order."""
    state, spec = net.state_dict(), net.permutation_spec()
    other = build().eval()
    permutations = random_permutations(state, spec, np.random.default_rng(seed))
    other.load_state_dict(permute(state, spec, permutations))
    return other


def correlated(a, b, batches):
    return activations.correlations([a, b], a.permutation_spec(), batches, [(0, 1)])[0]


def aligned(reference, moving, batches):
    spec = reference.permutation_spec()
    states = reference.state_dict(), moving.state_dict()
    permutations = activation_matching.align(
        *states,
        spec,
        generator=np.random.default_rng(0),
        correlations=correlated(reference, moving, batches),
    )
    return permute(states[1], spec, permutations)


def test_undoes_a_planted_permutation(family):
    """Every unit computes what its partner does; units that are silent have no order to find."""
    net = family.trained()
    moving = planted(net, family.build)
    batches = [(family.inputs(seed),) for seed in range(12)]
    before = correlated(net, moving, batches)
    moving.load_state_dict(aligned(net, moving, batches))
    for name, after in correlated(net, moving, batches).items():
        live = after.any(0)
        assert live.any()
        assert np.diag(before[name])[live].min() < 0.9
        np.testing.assert_allclose(np.diag(after)[live], 1, atol=1e-5)
        np.testing.assert_array_equal(live, after.any(1))


def test_keeps_the_function_of_an_unrelated_network(family):
    net, other = family.trained(0), family.trained(1)
    before = family.logits(other)
    moved = aligned(net, other, [(family.inputs(0),)])
    assert any(not torch.equal(moved[name], t) for name, t in other.state_dict().items())
    other.load_state_dict(moved)
    torch.testing.assert_close(family.logits(other), before, rtol=0, atol=1e-5)


def test_dead_units_are_what_is_left_over():
    """Live units find each other whatever the dead ones do; the order of the dead is immaterial."""
    torch.manual_seed(0)
    net = mlp.build((2, 3, 1), 3, depth=1, width=6).eval()
    with torch.no_grad():
        net.hidden[0].linear.bias[[1, 4]] = -100
    spec = net.permutation_spec()
    moving = planted(net, lambda: mlp.build((2, 3, 1), 3, depth=1, width=6))
    moved = aligned(net, moving, [(torch.randn(64, 1, 2, 3),)])
    live = [0, 2, 3, 5]
    name = spec.groups["hidden.0"][0].tensor
    assert torch.equal(moved[name][live], net.state_dict()[name][live])
    assert set(moved["hidden.0.linear.bias"][[1, 4]].tolist()) == {-100}


def test_a_hand_computed_assignment():
    """Row 0 would like unit 1 best, but gives it up for the larger sum."""
    net = mlp.build((1, 1, 1), 2, depth=1, width=2)
    table = {"hidden.0": np.array([[0.8, 0.9], [0.1, 0.7]])}
    found = activation_matching.align(
        net.state_dict(),
        net.state_dict(),
        net.permutation_spec(),
        generator=np.random.default_rng(0),
        correlations=table,
    )
    assert found["hidden.0"].tolist() == [0, 1]


def test_refuses_missing_correlations():
    net = mlp.build((2, 2, 1), 3, depth=1, width=4)
    state, spec = net.state_dict(), net.permutation_spec()
    with pytest.raises(UserError, match="no correlations of 'hidden.0'"):
        activation_matching.align(
            state, state, spec, generator=np.random.default_rng(0), correlations={}
        )
