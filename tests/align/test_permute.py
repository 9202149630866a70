import numpy as np
import pytest
import torch

from basins.align.permute import identity, permute, random_permutations
from basins.errors import UserError
from basins.nets.permutation import Axis, PermutationSpec, reads, writes


def drawn(state, spec, seed=0):
    return random_permutations(state, spec, np.random.default_rng(seed))


def test_random_permutations_leave_the_logits(family):
    net = family.trained()
    before, state, spec = family.logits(net), net.state_dict(), net.permutation_spec()
    moved = permute(state, spec, drawn(state, spec))
    assert any(not torch.equal(moved[name], state[name]) for name in state)
    net.load_state_dict(moved)
    after = family.logits(net)
    assert before.std() > 1e-3
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)


def test_every_group_and_every_axis_matters(family):
    """Permuting a group moves all its tensors; leaving one behind changes the function."""
    net = family.trained()
    before, state, spec = family.logits(net), net.state_dict(), net.permutation_spec()
    permutations = drawn(state, spec)
    for group, axes in spec.groups.items():
        moved = permute(state, spec, {group: permutations[group]})
        changed = {name for name in state if not torch.equal(moved[name], state[name])}
        assert changed == {axis.tensor for axis in axes}
        net.load_state_dict(moved | {axes[-1].tensor: state[axes[-1].tensor]})
        assert (family.logits(net) - before).abs().max() > 1e-5, group


def test_every_tensor_but_the_last_bias_has_a_group(family):
    net = family.trained()
    named = {axis.tensor for axes in net.permutation_spec().groups.values() for axis in axes}
    bare = {name for name, tensor in net.state_dict().items() if tensor.ndim} - named
    assert bare in ({"head.bias"}, {"classifier.bias"})


def test_inverse_undoes_exactly(family):
    net = family.trained()
    state, spec = net.state_dict(), net.permutation_spec()
    permutations = drawn(state, spec)
    back = permute(permute(state, spec, permutations), spec, permutations, inverse=True)
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_the_operand_is_left_alone(family):
    net = family.trained()
    state, spec = net.state_dict(), net.permutation_spec()
    copies = {name: tensor.clone() for name, tensor in state.items()}
    moved = permute(state, spec, drawn(state, spec))
    assert all(torch.equal(state[name], copies[name]) for name in state)
    assert list(moved) == list(state)


def test_unit_i_of_the_result_is_unit_p_i_of_the_operand():
    spec = PermutationSpec({"hidden": writes("first") + reads("second", block=2)})
    state = {
        "first.weight": torch.tensor([[0.0], [1.0], [2.0]]),
        "first.bias": torch.tensor([0.0, 10.0, 20.0]),
        "second.weight": torch.tensor([[0.0, 1.0, 10.0, 11.0, 20.0, 21.0]]),
    }
    moved = permute(state, spec, {"hidden": np.array([2, 0, 1])})
    assert moved["first.bias"].tolist() == [20, 0, 10]
    assert moved["first.weight"].tolist() == [[2], [0], [1]]
    assert moved["second.weight"].tolist() == [[20, 21, 0, 1, 10, 11]]


def test_a_window_moves_only_its_entries():
    spec = PermutationSpec({"head": (Axis("value", 0, window=(2, 4)),)})
    moved = permute({"value": torch.arange(6)}, spec, {"head": np.array([1, 0])})
    assert moved["value"].tolist() == [0, 1, 3, 2, 4, 5]


def test_identity_changes_nothing(family):
    net = family.trained()
    state, spec = net.state_dict(), net.permutation_spec()
    moved = permute(state, spec, identity(state, spec))
    assert all(torch.equal(moved[name], state[name]) for name in state)


@pytest.mark.parametrize(
    ("permutations", "message"),
    [
        ({"other": [0, 1]}, "no permutation group 'other'; there are: hidden"),
        ({"hidden": [0, 0]}, "not a permutation of 0 to 1"),
        ({"hidden": [0, 1, 2]}, "not a permutation of 0 to 1"),
    ],
)
def test_refuses_what_is_no_permutation(permutations, message):
    spec = PermutationSpec({"hidden": (Axis("bias", 0),)})
    with pytest.raises(UserError, match=message):
        permute({"bias": torch.zeros(2)}, spec, permutations)
