"""The toy's claims: each search against brute force, each lemma against networks built by hand."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from basins.errors import UserError
from basins.landscape.barriers import barrier_linear
from basins.registry import check_options
from basins.toys import pieces

COLUMNS = [
    "kind", "recipe_a", "recipe_b", "model_a", "model_b", "seed_a", "seed_b", "units", "search",
    "patterns", "barrier", "barrier_best", "loss_a", "loss_b", "barrier_bound", "patterns_initial",
]  # fmt: skip


def world(count: int = 64, number: int = 4) -> pieces.World:
    return pieces.draw(np.random.default_rng(0), count, number)


def simple(units: int) -> torch.Tensor:
    """2 relu(x1 - 1/2), all of it by the first unit."""
    return torch.eye(units, 1).double() * torch.tensor([2.0, 0, 0, -1]) * units


def complex_(units: int, number: int = 4) -> torch.Tensor:
    """One unit for each piece: 2 relu(normal . (x2, x3) - 1/2)."""
    angle = 2 * np.pi * torch.arange(number).double() / number
    rows = torch.stack([0 * angle, 2 * angle.cos(), 2 * angle.sin(), 0 * angle - 1], -1)
    return torch.cat([rows, torch.zeros(units - number, 4)]).double() * units


def random(units: int, seed: int) -> torch.Tensor:
    return torch.randn(units, 4, generator=torch.Generator().manual_seed(seed)).double()


def brute_force(a: torch.Tensor, b: torch.Tensor, drawn: pieces.World) -> float:
    """The least barrier of all orders, through the weights and one network at a time."""
    t = np.linspace(0, 1, 11)
    x, labels = drawn.sets["both"], drawn.labels
    return min(
        float(
            barrier_linear(
                t,
                [
                    pieces.loss(pieces.outputs((1 - s) * a + s * b[list(order)], x), labels)
                    for s in t
                ],
            )
        )
        for order in permutations(range(len(b)))
    )


@pytest.mark.parametrize("number", [3, 4, 5])
def test_each_attribute_is_interpolated_by_as_many_units_as_it_has_pieces(number):
    drawn = world(number=number)
    for name, net in (("simple", simple(1)), ("complex", complex_(number, number))):
        for data in ("both", name):
            assert pieces.loss(pieces.outputs(net, drawn.sets[data]), drawn.labels) < 1e-24
    fewer = complex_(number, number)[1:]
    assert pieces.loss(pieces.outputs(fewer, drawn.sets["both"]), drawn.labels) > 0.05


def test_a_shuffled_attribute_keeps_its_values_but_says_nothing():
    drawn = world(count=2000)
    both, labels = drawn.sets["both"], drawn.labels
    assert labels.tolist()[:3] == [0, 1, 0]
    for name, shuffled in (("complex", slice(0, 1)), ("simple", slice(1, 3))):
        data = drawn.sets[name]
        kept = [k for k in range(4) if k not in range(*shuffled.indices(4))]
        assert torch.equal(data[:, kept], both[:, kept])
        values = data[:, shuffled], both[:, shuffled]
        assert sorted(values[0].tolist()) == sorted(values[1].tolist())
        assert abs(np.corrcoef(values[0].norm(dim=-1), labels)[0, 1]) < 0.1


def test_guessing_costs_one_and_a_path_ends_at_its_networks():
    drawn = world()
    assert pieces.loss(torch.full((64,), 0.5), drawn.labels) == 1
    a, b = random(5, 0), random(5, 1)
    found = pieces.path(pieces.join(a, b, drawn), np.arange(5))
    torch.testing.assert_close(found[0], pieces.outputs(a, drawn.sets["both"]))
    torch.testing.assert_close(found[-1], pieces.outputs(b, drawn.sets["both"]))


@pytest.mark.parametrize("seed", range(4))
def test_searches_agree_with_brute_force(seed):
    drawn = world(32)
    a, b = random(4, seed), 3 * random(4, seed + 10)
    pair = pieces.join(a, b, drawn)
    least = brute_force(a, b, drawn)
    assert pieces.barrier(pair, pieces.exhaustive(pair)) == pytest.approx(least, abs=1e-12)
    assert pieces.barrier(pair, pieces.matched(pair)) >= least - 1e-12
    signs = [(side > 0).numpy() for side in (pair.a, pair.b)]
    share = max((signs[0] == signs[1][list(p)]).mean() for p in permutations(range(4)))
    assert pieces.shared_patterns(pair) == pytest.approx(share)


def test_the_bound_is_below_every_order_and_above_zero_between_the_attributes():
    drawn = world(32)
    for shared in (simple(4), simple(1).expand(4, 4)):
        bound = pieces.bound(pieces.join(complex_(4), shared, drawn))
        assert 0.01 < bound <= brute_force(complex_(4), shared, drawn)


def test_attributes_read_by_units_that_the_other_network_leaves_at_zero_have_no_barrier():
    """The theorem needs networks that use all their units: here each leaves the other's at zero."""
    pair = pieces.join(complex_(5), simple(5), world())
    assert pieces.barrier(pair, np.arange(5)) > 0.05
    assert pieces.barrier(pair, pieces.exhaustive(pair)) == pytest.approx(0, abs=1e-12)
    assert pieces.shared_patterns(pair) < 1
    assert pieces.bound(pair) == 0


@settings(max_examples=30)
@given(st.integers(2, 40), st.integers(0, 10**6))
def test_a_permuted_copy_has_no_barrier_and_all_patterns(units, seed):
    drawn, net = world(), random(units, seed)
    order = np.random.default_rng(seed).permutation(units)
    pair = pieces.join(net, net[order], drawn)
    assert pieces.shared_patterns(pair) == 1
    assert pieces.barrier(pair, pieces.matched(pair)) == pytest.approx(0, abs=1e-12)
    assert pieces.bound(pair) == 0
    if units <= 5:
        assert pieces.barrier(pair, pieces.exhaustive(pair)) == pytest.approx(0, abs=1e-12)


@settings(max_examples=30)
@given(st.integers(1, 20), st.integers(0, 10**6))
def test_equal_patterns_are_what_makes_a_path_straight(units, seed):
    """Lemma 2 and its converse: outputs meet their chord just where all signs agree."""
    drawn, a, b = world(), random(units, seed), random(units, seed + 1)
    t = pieces.POINTS[1:-1, None]
    for other in (b, a * torch.linspace(0.5, 2, units)[:, None]):
        pair = pieces.join(a, other, drawn)
        found = pieces.path(pair, np.arange(units))
        below = torch.lerp(found[:1], found[-1:], t) - found[1:-1]
        differs = ((pair.a > 0) != (pair.b > 0)).any(0)
        assert (below > -1e-12).all()
        assert (below[:, differs] > 0).all()
        torch.testing.assert_close(below[:, ~differs], 0 * below[:, ~differs])
    assert not differs.any()
    assert pieces.barrier(pair, np.arange(units)) == pytest.approx(0, abs=1e-12)


def test_training_takes_the_first_attempt_that_interpolates():
    drawn = world()
    starts = torch.stack([random(6, 0), random(6, 1), simple(6)]).float()[None]
    (net,) = pieces.train(starts, drawn, "simple", lr=0.1, steps=1)
    assert torch.equal(net.start, net.end) and torch.equal(net.end, starts[0, 2].double())
    (net,) = pieces.train(starts[:, :2], drawn, "simple", lr=0.1, steps=500)
    assert any(torch.equal(net.start, start.double()) for start in starts[0, :2])
    assert pieces.loss(pieces.outputs(net.end, drawn.sets["simple"]), drawn.labels) < 0.00501


def test_what_cannot_interpolate_is_refused():
    starts = torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match="'complex' with 3 units none .* in 20 steps"):
        pieces.train(starts, world(), "complex", lr=0.1, steps=20)
    with pytest.raises(UserError, match=r"toy\.k\.units: 1 "):
        check_options(pieces.run, {"seeds": [0, 1], "units": 1}, "toy.k")


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return pieces.run(seeds=[0, 3], units=7, examples=64)


def test_every_pair_has_a_row_and_its_curves(tables):
    pairs, curves = tables["pairs"], tables["curves"]
    assert list(pairs) == COLUMNS
    counts = {"same_complex": 1, "same_simple": 1, "simple_both": 4, "different": 4}
    assert pairs["kind"].value_counts().to_dict() == counts
    assert set(pairs["model_a"]) == {f"{r}/seed{k}" for r in ("complex", "simple") for k in (0, 3)}
    key = ["kind", "model_a", "model_b"]
    assert len(curves) == len(pairs) * 2 * 11
    for column, permuted in (("barrier", False), ("barrier_best", True)):
        part = curves[curves["permuted"] == permuted]
        found = part.groupby(key).apply(lambda c: float(barrier_linear(c["t"], c["loss"])))
        np.testing.assert_allclose(pairs.set_index(key)[column], found[pairs.set_index(key).index])
    assert (pairs["barrier_bound"] <= pairs["barrier_best"] + 1e-12).all()
    assert (pairs["barrier_best"] <= pairs["barrier"]).all()
    assert (pairs[["loss_a", "loss_b"]] < 0.05).all(axis=None)


def test_networks_rely_on_what_they_could_and_both_on_the_simple_attribute(tables):
    accuracy = tables["models"].groupby(["recipe", "eval_set"])["accuracy"].mean()
    for recipe, reads, other in (
        ("complex", "complex", "simple"),
        ("simple", "simple", "complex"),
        ("both", "simple", "complex"),
    ):
        assert accuracy[recipe, "both"] > 0.95
        assert accuracy[recipe, reads] > 0.9 and accuracy[recipe, other] < 0.65


def test_different_attributes_keep_a_barrier_and_equal_ones_do_not(tables):
    pairs = tables["pairs"].groupby("kind")
    assert pairs["barrier_bound"].min()["different"] > 0.05
    rest = ["same_complex", "same_simple", "simple_both"]
    assert (pairs["barrier_best"].mean()[rest] < 0.05).all()
    assert pairs["patterns"].mean()[rest].min() > pairs["patterns"].mean()["different"] + 0.1


def test_the_same_call_gives_the_same_rows(tables):
    again = pieces.run(seeds=[0, 3], units=7, examples=64)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table, again[name], check_exact=True)
