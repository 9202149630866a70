import itertools

import numpy as np
import pytest
import torch

from basins.align import star, universe
from basins.align.permute import identity, permute, random_permutations
from basins.errors import UserError
from basins.nets import mlp


def trained(family, count):
    return [family.trained(seed).state_dict() for seed in range(count)]


def untrained(count):
    torch.manual_seed(0)
    nets = [mlp.build((3, 3, 1), 3, depth=2, width=8) for _ in range(count)]
    return [net.state_dict() for net in nets], nets[0].permutation_spec()


def drawn(states, spec, seed=3):
    rng = np.random.default_rng(seed)
    return [random_permutations(state, spec, rng) for state in states]


def applied(states, spec, permutations):
    return [permute(s, spec, p) for s, p in zip(states, permutations, strict=True)]


def all_pairs(states, spec):
    """Return the sum of inner products over pairs of states, one after the other."""
    weights = {axis.tensor for axes in spec.groups.values() for axis in axes}
    weights = {name for name in weights if "running" not in name}
    return sum(
        float((a[name].double() * b[name].double()).sum())
        for a, b in itertools.combinations(states, 2)
        for name in weights
    )


def test_the_objective_is_that_of_all_pairs(family):
    states, spec = trained(family, 4), family.build().permutation_spec()
    permutations = drawn(states, spec)
    expected = all_pairs(applied(states, spec, permutations), spec)
    assert universe.objective(states, spec, permutations) == pytest.approx(expected, rel=1e-10)
    problem = universe.Problem(states, spec)
    mixtures = problem.mixtures(permutations)
    assert problem.objective(mixtures) == pytest.approx(expected, rel=1e-10)


def test_the_gradient_is_the_slope_of_the_objective(family):
    states, spec = trained(family, 3), family.build().permutation_spec()
    problem = universe.Problem(states, spec)
    place, goal = (problem.mixtures(drawn(states, spec, seed)) for seed in (0, 1))
    place = universe.softened(place)
    value, gradient = problem.gradient(place)
    assert value == pytest.approx(problem.objective(place), rel=1e-12)
    slope = sum(float((gradient[g] * (goal[g] - place[g])).sum()) for g in place)

    def at(length):
        return problem.objective({g: torch.lerp(place[g], goal[g], length) for g in place})

    assert slope == pytest.approx((at(1e-5) - at(-1e-5)) / 2e-5, rel=1e-5)


def test_every_step_climbs_as_far_as_is_best(family):
    states, spec = trained(family, 3), family.build().permutation_spec()
    problem = universe.Problem(states, spec)
    places, values = zip(
        *itertools.islice(problem.ascent(problem.mixtures(drawn(states, spec))), 6), strict=True
    )
    assert len(values) > 2
    assert all(np.diff(values) > 0)
    for before, after, value in zip(places, places[1:], values[1:], strict=False):
        # Shorter and longer steps the same way; a step to the end cannot be longer.
        lengths = [0.5, 0.9, 0.99, 1.01]
        others = [{g: torch.lerp(before[g], after[g], length) for g in after} for length in lengths]
        inside = [other for other in others if min(float(m.min()) for m in other.values()) >= 0]
        assert max(problem.objective(other) for other in inside) <= value * (1 + 1e-12)
    for matrices in places[-1].values():
        assert matrices.min() >= 0
        torch.testing.assert_close(matrices.sum(1), torch.ones_like(matrices[:, 0]))
        torch.testing.assert_close(matrices.sum(2), torch.ones_like(matrices[:, 0]))


def test_recovers_planted_permutations(family):
    state, spec = family.trained().state_dict(), family.build().permutation_spec()
    states = [permute(state, spec, permutations) for permutations in drawn([state] * 4, spec)]
    found = universe.align_all(states, spec, generator=np.random.default_rng(0))
    first, *others = applied(states, spec, found)
    assert any(not torch.equal(states[0][name], states[1][name]) for name in state)
    assert all(torch.equal(other[name], first[name]) for other in others for name in state)


def test_an_ascent_alone_recovers_them_from_near(family):
    """Half-way between the answer and the uniform mixture, with no star to fall back on."""
    state, spec = family.trained().state_dict(), family.build().permutation_spec()
    problem = universe.Problem([state] * 3, spec)
    start = universe.softened(problem.mixtures([identity(state, spec)] * 3))
    *_, (mixtures, value) = problem.ascent(start)
    for permutations in universe.hardened(mixtures):
        moved = permute(state, spec, permutations)
        assert all(torch.equal(moved[name], state[name]) for name in state)


def test_beats_the_star_and_keeps_every_function(family):
    nets = [family.trained(seed) for seed in range(3)]
    states, spec = [net.state_dict() for net in nets], nets[0].permutation_spec()
    found = universe.align_all(states, spec, generator=np.random.default_rng(0))
    centred = star.align_all(states, spec, generator=np.random.default_rng(0))
    assert universe.objective(states, spec, found) > universe.objective(states, spec, centred)
    for net, moved in zip(nets, applied(states, spec, found), strict=True):
        before = family.logits(net)
        net.load_state_dict(moved)
        torch.testing.assert_close(family.logits(net), before, rtol=0, atol=1e-5)


def test_going_round_a_cycle_is_staying():
    """Aligned to b by way of c, a is what it is aligned to b directly."""
    states, spec = untrained(3)
    into = universe.align_all(states, spec, generator=np.random.default_rng(0))

    def carried(state, a, b):
        return permute(permute(state, spec, into[a]), spec, into[b], inverse=True)

    direct = carried(states[0], 0, 1)
    round_about = carried(carried(states[0], 0, 2), 2, 1)
    assert any(not torch.equal(direct[name], states[0][name]) for name in direct)
    assert all(torch.equal(direct[name], round_about[name]) for name in direct)


def test_more_restarts_are_never_worse_and_seeds_decide():
    states, spec = untrained(4)

    def reached(restarts):
        generator = np.random.default_rng(1)
        found = universe.align_all(states, spec, generator=generator, restarts=restarts)
        return universe.objective(states, spec, found)

    assert reached(1) == reached(1)
    assert reached(4) >= reached(1)


def test_one_network_stays():
    net = mlp.build((2, 2, 1), 3, depth=1, width=4)
    spec = net.permutation_spec()
    (found,) = universe.align_all([net.state_dict()], spec, generator=np.random.default_rng(0))
    assert found["hidden.0"].tolist() == [0, 1, 2, 3]


def test_refuses_networks_of_different_width():
    nets = [mlp.build((2, 2, 1), 3, depth=1, width=width) for width in (4, 5)]
    states = [net.state_dict() for net in nets]
    with pytest.raises(UserError, match="match equal networks"):
        universe.align_all(states, nets[0].permutation_spec(), generator=np.random.default_rng(0))
