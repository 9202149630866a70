"""Permutation specs traced from networks, against hand-written ones and against the networks."""

import copy

import numpy as np
import pytest
import torch

from basins.align import universe, weight_matching
from basins.align.permute import permute, random_permutations
from basins.align.traced import trace
from basins.errors import UserError
from tests.align.traced_nets import ROWS, ZOO, Stranger, built, planted, said

# Of each, how many groups there are. All parameters can move but those of the outputs' order: the
# last bias, where there is one; of an encoder without a head, all that writes its states.
GROUPS = {"flattened": 2, "resnet": 8, "mobilenet": 25, "efficientnet": 9, "convnext": 5}
GROUPS |= {"densenet": 10, "vit": 17, "swin": 46, "bert": 18, "roberta": 18, "distilbert": 18}
GROUPS |= {"electra": 19, "albert": 11, "deberta": 19, "modernbert": 12, "gpt2": 17, "llama": 17}
GROUPS |= {
    "longformer": 14,
    "t5": 15,
    "hf_vit": 17,
    "hf_resnet": 9,
    "hf_convnext": 5,
    "clip": 16,
    "mixtral": 11,
}
HEADLESS = {"t5": 0.85, "clip": 0.59}
ROUTED = {"mixtral": 0.77}  # experts stay, and with them a third of what moves along three axes


def sets(spec):
    return {frozenset(axes) for axes in spec.groups.values()}


def test_hand_written_specs_are_recovered(family):
    net = family.trained()
    written, traced = net.permutation_spec(), trace(net, (family.inputs(0),))
    assert sets(written) <= sets(traced.spec)
    assert list(traced.fixed) == ["classifier.bias" if family.shape is None else "head.bias"]
    if family.shape is None:  # beyond these, the query and key units within a head
        assert len(traced.spec.groups) == len(written.groups) + 2 * 4
    else:
        assert traced.spec.groups.keys() == written.groups.keys()


@pytest.mark.parametrize("name", ZOO)
def test_permuting_what_was_traced_keeps_the_function(name):
    net, example = built(name)
    traced = trace(net, (example,))
    assert len(traced.spec.groups) == GROUPS[name]
    assert traced.share > (HEADLESS | ROUTED).get(name, 0.99)
    if name in ROUTED:
        assert {reason.split()[0] for reason in traced.fixed.values()} == {"experts", "topk"}
    else:
        assert all("an output" in reason for reason in traced.fixed.values())
        assert name in HEADLESS or len(traced.fixed) <= 1
    other = example.flip(0, 1)
    before = said(net, other)
    state, moved = planted(net, traced.spec)
    assert any(not torch.equal(moved[key], tensor) for key, tensor in state.items())
    net.load_state_dict(moved)
    torch.testing.assert_close(said(net, other), before, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["flattened", "bert", "gpt2", "llama", "swin", "densenet"])
def test_weight_matching_undoes_a_planted_permutation(name):
    net, example = built(name)
    spec = trace(net, (example,)).spec
    state, moved = planted(net, spec)
    found = weight_matching.align(state, moved, spec, generator=np.random.default_rng(0))
    for key, tensor in permute(moved, spec, found).items():
        torch.testing.assert_close(tensor, state[key])


def test_every_window_of_packed_weights_is_moved_and_matched():
    """Queries and keys share their units; grouped queries share those of one key."""
    net, example = built("llama")
    axes = trace(net, (example,)).spec.groups
    layer = "model.layers.0.self_attn"
    windows = {
        frozenset(axis.window for axis in group if axis.tensor == f"{layer}.o_proj.weight")
        for group in axes.values()
    }
    # Three groups of two heads of four units: all groups, the two heads of each, the units of each.
    assert windows - {frozenset()} == {
        frozenset([None]),
        *(frozenset([(8 * k, 8 * k + 8)]) for k in range(3)),
        *(frozenset([(8 * k, 8 * k + 4), (8 * k + 4, 8 * k + 8)]) for k in range(3)),
    }


@pytest.mark.parametrize("name", ["gpt2", "densenet"])
def test_relaxed_permutations_act_on_every_window(name):
    """Where mixtures are permutations, mixed weights are permuted ones."""
    net, example = built(name)
    spec = trace(net, (example,)).spec
    state = net.state_dict()
    drawn = random_permutations(state, spec, np.random.default_rng(0))
    problem, moved = universe.Problem([state], spec), permute(state, spec, drawn)
    for key in problem.weights:
        torch.testing.assert_close(
            problem.mixed(key, problem.mixtures([drawn]))[0].float(), moved[key]
        )
    curve = problem.curve(
        *(problem.mixtures([p]) for p in (weight_matching.identity(state, spec), drawn)), 0.0, 0.0
    )
    assert np.isfinite(curve(0.5))


def test_tied_weights_move_under_both_names():
    net, example = built("gpt2")
    state, moved = planted(net, trace(net, (example,)).spec)
    ties = [moved[name] for name in ("lm_head.weight", "transformer.wte.weight")]
    assert torch.equal(*ties) and not torch.equal(ties[0], state["lm_head.weight"])


def test_the_network_is_left_as_it_was():
    net = Stranger().train()
    net.second.eval()
    before = copy.deepcopy(net.state_dict())
    trace(net, (ROWS,))
    assert net.training and not net.second.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_network_that_does_not_run_is_one_line():
    with pytest.raises(UserError, match="Stranger does not run on the example: .*shapes"):
        trace(Stranger(), (ROWS[:, :3],))


def test_a_spec_with_windows_says_where_a_state_does_not_fit():
    net, example = built("gpt2")
    spec, state = trace(net, (example,)).spec, dict(net.state_dict())
    state["transformer.h.0.mlp.c_fc.bias"] = torch.zeros(7)
    with pytest.raises(UserError, match="c_fc"):
        spec.check(state)
