"""Couplings by hand and by linear programming, and merges with copies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from basins.align import activation_matching, weight_matching
from basins.align.permute import permute, random_permutations
from basins.data.resident import Resident, normalise
from basins.merges import ot_fusion
from basins.merges.sources import Sources
from basins.nets import mlp
from basins.nets.permutation import Axis
from tests.align.conftest import FAMILIES


def sources(net, states):
    return Sources(states, None, net, [], np.random.default_rng(0))  # pyright: ignore


def distance(a, b):
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("regularisation", [0.0, 0.01])
def test_a_network_and_permuted_copies_are_that_network(name, regularisation):
    net = FAMILIES[name].trained()
    state, spec = net.state_dict(), net.permutation_spec()
    copies = [
        permute(state, spec, random_permutations(state, spec, np.random.default_rng(seed)))
        for seed in (3, 4)
    ]
    assert distance(state, copies[0]) > 0.1
    states = [state, state, *copies]
    (merged,) = ot_fusion.merge(sources(net, states), regularisation=regularisation)
    assert distance(merged, state) < (1e-6 if regularisation == 0 else 1e-2)


def test_exact_transport_of_equal_masses_is_the_optimal_plan():
    """Against a linear program over couplings, layer by layer."""
    torch.manual_seed(0)
    nets = [mlp.build((1, 3, 1), 2, depth=2, width=4) for _ in range(2)]
    states, spec = [net.state_dict() for net in nets], nets[0].permutation_spec()
    found = ot_fusion.couplings(*states, spec)
    before = torch.eye(3)
    for group in ("hidden.0", "hidden.1"):
        ours, theirs = (
            torch.cat([s[f"{group}.linear.weight"], s[f"{group}.linear.bias"][:, None]], 1)
            for s in states
        )
        theirs = torch.cat([theirs[:, :-1] @ before.T, theirs[:, -1:]], 1)
        if group == "hidden.1":  # the head has no other group
            ours, theirs = (
                torch.cat([x, s["head.weight"].T], 1)
                for x, s in zip((ours, theirs), states, strict=True)
            )
        cost = (ours[:, None] - theirs).square().sum(2).numpy()
        masses = np.concatenate([np.kron(np.eye(4), np.ones(4)), np.kron(np.ones(4), np.eye(4))])
        plan = linprog(cost.ravel(), A_eq=masses, b_eq=np.full(8, 1 / 4)).x.reshape(4, 4)
        np.testing.assert_allclose(found[group], 4 * plan, atol=1e-9)
        before = found[group].float()


def test_entropy_softens_the_coupling():
    """Rows and columns sum to 1; two units far apart are exchanged as exp(-cost / 2 reg) says."""
    net = mlp.build((1, 1, 1), 2, depth=1, width=2)
    state = net.state_dict() | {
        "hidden.0.linear.weight": torch.tensor([[0.0], [1.0]]),
        "hidden.0.linear.bias": torch.zeros(2),
    }
    spec = net.permutation_spec()
    coupling = ot_fusion.couplings(state, state, spec, regularisation=0.5)["hidden.0"]
    kept = 1 / (1 + np.exp(-1 / (0.5 * 0.5)))  # costs 0 and 1, their mean 1/2
    expected = torch.tensor([[kept, 1 - kept], [1 - kept, kept]]).double()
    torch.testing.assert_close(coupling, expected)
    (merged,) = ot_fusion.merge(sources(net, [state, state]), regularisation=0.5)
    first = (0 + 1 - kept) / 2
    weight = merged["hidden.0.linear.weight"][:, 0].tolist()
    assert weight == pytest.approx([first, 1 - first])


@pytest.mark.parametrize("name", FAMILIES)
def test_mixing_by_permutation_matrices_is_permuting(name):
    net = FAMILIES[name].trained()
    state, spec = net.state_dict(), net.permutation_spec()
    chosen = random_permutations(state, spec, np.random.default_rng(0))
    matrices = {group: torch.eye(len(p)).double()[p] for group, p in chosen.items()}
    mixed = ot_fusion.transported(state, spec, matrices)
    for key, tensor in permute(state, spec, chosen).items():
        assert torch.equal(mixed[key], tensor)


def test_mixing_runs_and_windows():
    tensor = torch.arange(6.0)
    half = torch.full((2, 2), 0.5)

    def mixed(axis: Axis) -> list[float]:
        found: Tensor = ot_fusion.mix(tensor, axis, half)
        return found.tolist()

    assert mixed(Axis("x", 0, 3)) == [1.5, 2.5, 3.5] * 2
    assert mixed(Axis("x", 0, 1, (2, 4))) == [0, 1, 2.5, 2.5, 4, 5]


def test_closer_than_without_alignment():
    family = FAMILIES["mlp"]
    states = [family.trained(seed).state_dict() for seed in range(2)]
    spec = family.build().permutation_spec()
    moved = ot_fusion.transported(states[1], spec, ot_fusion.couplings(*states, spec))

    def apart(other):
        names = weight_matching.actions(spec)
        return sum(float((states[0][name] - other[name]).square().sum()) for name in names)

    assert apart(moved) < apart(states[1])


@pytest.mark.parametrize("name", ["mlp", "vgg", "resnet8"])
def test_exact_transport_by_activations_is_activation_matching(name):
    """And of a network and a permuted copy the network again."""
    family = FAMILIES[name]
    net = family.trained()
    state, spec = net.state_dict(), net.permutation_spec()
    moved = random_permutations(state, spec, np.random.default_rng(3))
    channels, height, width = family.shape
    stream = torch.Generator().manual_seed(0)
    pixels = torch.randint(
        0, 256, (60, height, width, channels), generator=stream, dtype=torch.uint8
    )
    rows = Resident(pixels, torch.zeros(60, dtype=torch.int64))
    states = [state, permute(state, spec, moved)]
    given = Sources(states, None, net, rows, np.random.default_rng(0))
    [merged] = ot_fusion.merge(given, by="activations")
    after = family.build().eval()
    after.load_state_dict(merged)
    before = family.build().eval()
    before.load_state_dict(state)
    images = normalise(pixels)
    torch.testing.assert_close(after(images), before(images), rtol=1e-4, atol=1e-4)
    other = family.trained(1).state_dict()
    given = given._replace(states=[state, other])
    [between] = ot_fusion.correlated(given, [(0, 1)])
    plans = ot_fusion.by_activations(state, spec, between)
    expected = activation_matching.align(
        state, other, spec, generator=np.random.default_rng(0), correlations=between
    )
    for group, permutation in expected.items():
        assert torch.equal(plans[group].argmax(1), torch.from_numpy(permutation))


def test_entropy_between_activations():
    """Two units of correlation 1 with themselves and -1 with each other: costs 0 and 4, mean 2."""
    net = mlp.build((1, 1, 1), 2, depth=1, width=2)
    between = {"hidden.0": np.array([[1.0, -1.0], [-1.0, 1.0]])}
    spec, state = net.permutation_spec(), net.state_dict()
    found = ot_fusion.by_activations(state, spec, between, regularisation=1.0)["hidden.0"]
    kept = 1 / (1 + np.exp(-4 / 2))
    expected = torch.tensor([[kept, 1 - kept], [1 - kept, kept]]).double()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
