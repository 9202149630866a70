"""Every technique against a case by hand, another implementation, or what its paper promises."""

from __future__ import annotations

from math import sin
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from basins.data import resident
from basins.data.resident import normalise
from basins.data.tokens import tokens
from basins.errors import UserError
from basins.merges import (
    best,
    dare,
    deep_ensemble,
    ema,
    fast_geometric,
    fisher,
    greedy_soup,
    karcher,
    ot_fusion,
    regmean,
    simplicial,
    slerp,
    snapshot,
    swa,
    swag,
    task_arithmetic,
    ties,
    trajectory,
    uniform_soup,
    wise_ft,
)
from basins.merges.sources import Sources, mixed
from basins.nets import bert, resnet
from basins.registry import names
from tests.merges.conftest import CLASSES, images, numbers

A, B, C, BASE = (numbers(k, 36) for k in range(4))
TRAINING = (snapshot, fast_geometric, swa, ema, swag)


def vector(states) -> Tensor:
    [state] = states
    return state["head.weight"].flatten()


def test_all_techniques_of_the_issue_are_there():
    assert set(names("merges", "merge")) >= {
        "best", "deep_ensemble", "snapshot", "fast_geometric", "swag", "simplicial",
        "uniform_soup", "greedy_soup", "swa", "ema", "wise_ft", "slerp", "fisher", "regmean",
        "task_arithmetic", "ties", "dare",
    }  # fmt: skip


@pytest.mark.parametrize("technique", [uniform_soup, greedy_soup, best, wise_ft, task_arithmetic])
def test_a_network_merged_with_itself_is_that_network_to_the_bit(make, technique):
    assert torch.equal(vector(technique.merge(make([A, A, A], A))), A)


def test_means(make):
    mean = (A + B + C) / 3
    torch.testing.assert_close(vector(uniform_soup.merge(make([A, B, C]))), mean)
    sources = make([A, B, C], BASE)
    torch.testing.assert_close(vector(wise_ft.merge(sources, alpha=1.0)), mean)
    torch.testing.assert_close(vector(wise_ft.merge(sources, alpha=0.0)), BASE)
    torch.testing.assert_close(vector(wise_ft.merge(sources, alpha=0.25)), 0.75 * BASE + mean / 4)
    assert len(deep_ensemble.merge(sources)) == 3


def test_members_of_a_simplex_fill_it(make):
    found = simplicial.merge(make([A, B, C]), members=500)
    points = torch.stack([state["head.weight"].flatten() for state in found])
    corners = torch.stack([A, B, C])
    shares = torch.linalg.lstsq(corners.T, points.T).solution
    torch.testing.assert_close(shares.T @ corners, points, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(shares.sum(0), torch.ones(500), rtol=1e-4, atol=1e-4)
    assert shares.min() > -1e-4
    # Uniform on the triangle: means of 1/3, variances of 1/18.
    assert shares.mean(1).tolist() == pytest.approx([1 / 3] * 3, abs=0.03)
    assert shares.var(1).tolist() == pytest.approx([1 / 18] * 3, abs=0.01)


def right(data) -> Tensor:
    """Return weights that are right on most rows: least squares of the classes."""
    rows = normalise(data.images).flatten(1)
    return torch.linalg.lstsq(rows, functional.one_hot(data.labels, CLASSES).float()).solution.T


def test_a_greedy_soup_takes_what_helps_and_is_no_worse_than_the_best(make):
    good = right(images(40)).flatten()
    sources = make([-3 * good, good + 0.02 * A, good + 0.02 * B])
    [soup] = greedy_soup.merge(sources)
    expected = mixed(sources.states[1:])["head.weight"]
    torch.testing.assert_close(soup["head.weight"], expected)
    assert [share for _, share in soup.parts] == [0.5, 0.5]
    assert {id(state) for state, _ in soup.parts} == {id(s) for s in sources.states[1:]}
    for seed in range(5):
        sources = make([numbers(10 * seed + k, 36) for k in range(4)])
        [soup] = greedy_soup.merge(sources)
        assert sources.score(soup) >= max(map(sources.score, sources.states))


def test_the_best_has_the_lowest_loss(make):
    good = right(images(40)).flatten()
    sources = make([A, good, 100 * good])  # the last is as accurate, but too sure of itself
    assert torch.equal(vector(best.merge(sources)), good)


def test_slerp_of_two_is_shoemakes(make):
    a, b = A / A.norm(), B / B.norm()
    angle = torch.arccos((a * b).sum()).item()
    half = (sin(angle / 2) * a + sin(angle / 2) * b) / sin(angle)
    torch.testing.assert_close(vector(karcher.merge(make([a, b]))), half)
    lengths = vector(karcher.merge(make([2 * a, 4 * b])))
    torch.testing.assert_close(lengths, 3 * half)
    for t in (0.0, 0.3, 1.0):
        expected = (sin((1 - t) * angle) * 2 * a + sin(t * angle) * 4 * b) / sin(angle)
        for scope in ("tensor", "vector"):
            found = vector(slerp.merge(make([2 * a, 4 * b]), t=t, scope=scope))
            torch.testing.assert_close(found, expected)
    near = vector(slerp.merge(make([A, A + 1e-6 * B]), t=0.5))
    torch.testing.assert_close(near, A + 5e-7 * B)
    with pytest.raises(UserError, match="slerp.*opposite"):
        slerp.merge(make([A, -A]))
    with pytest.raises(UserError, match="slerp: 3 networks, not 2"):
        slerp.merge(make([A, B, C]))


def test_tensors_have_arcs_of_their_own():
    """Two tensors, the second of which is 0 in one network: that one is averaged."""
    net = torch.nn.Linear(2, 2)
    states = [
        {"weight": torch.eye(2), "bias": torch.zeros(2)},
        {"weight": torch.tensor([[0.0, 1.0], [1.0, 0.0]]), "bias": torch.ones(2)},
    ]
    sources = Sources(states, None, net, [], np.random.default_rng(0))  # pyright: ignore
    [whole] = karcher.merge(sources)
    for technique in (karcher.merge, slerp.merge):
        [apart] = technique(sources, scope="tensor")
        # A quarter of a circle between orthogonal tensors of one length.
        torch.testing.assert_close(apart["weight"], torch.full((2, 2), 0.5**0.5))
        torch.testing.assert_close(apart["bias"], torch.full((2,), 0.5))
        assert not torch.allclose(whole["weight"], apart["weight"])


def test_a_karcher_mean_is_as_near_to_all_as_can_be(make):
    directions = torch.stack([A, B, C, BASE]).double()
    directions /= directions.norm(dim=1, keepdim=True)
    equal = torch.full((4,), 0.25).double()
    mean = karcher.mean_direction(directions, equal)

    def squares(point: Tensor) -> float:
        return float(torch.arccos(directions @ (point / point.norm())).square().sum())

    for seed in range(20):
        assert squares(mean) < squares(mean + 1e-3 * numbers(seed, 36).double())
    torch.testing.assert_close(
        karcher.mean_direction(torch.eye(3).double(), torch.full((3,), 1 / 3).double()),
        torch.full((3,), 3**-0.5, dtype=torch.double),
    )
    with pytest.raises(UserError, match="cancel"):
        karcher.merge(make([A, -A]))


def test_task_arithmetic_adds_and_negates(make):
    sources = make([A, B], BASE)
    tasks = (A - BASE) + (B - BASE)
    for coefficient in (0.3, -0.7):
        found = vector(task_arithmetic.merge(sources, coefficient=coefficient))
        torch.testing.assert_close(found, BASE + coefficient * tasks)
    half = vector(task_arithmetic.merge(sources, coefficient=0.5))
    torch.testing.assert_close(half, vector(uniform_soup.merge(sources)))


def test_the_difference_of_two_networks_is_added_to_a_third(make):
    """Weights of −1 and 1: what the third is drops out of both task vectors; 0 and 1: an end."""
    sources = make([A, B], BASE)
    for coefficient in (-1.0, 0.0, 0.5):
        found = task_arithmetic.merge(sources, coefficient=coefficient, weights=[-1.0, 1.0])
        torch.testing.assert_close(vector(found), BASE + coefficient * (B - A))
    end = task_arithmetic.merge(sources, coefficient=1.0, weights=[0.0, 1.0])
    torch.testing.assert_close(vector(end), B)


def test_ties_by_hand():
    vectors = torch.tensor([[3.0, -1.0, 0.5, 4.0], [1.0, -2.0, 5.0, -6.0], [-9.0, 0.1, 0.2, 8.0]])
    kept = ties.trimmed(vectors, 0.5)
    assert (ties.trimmed(vectors, 0.7, "down") != 0).sum(1).tolist() == [2, 2, 2]
    assert (ties.trimmed(vectors, 0.7) != 0).sum(1).tolist() == [3, 3, 3]
    assert kept.tolist() == [[3, 0, 0, 4], [0, 0, 5, -6], [-9, 0, 0, 8]]
    # Signs of the sums: -6, 0, 5, 6. Of those that agree: -9; none; 5; 4 and 8.
    assert ties.elected(kept).tolist() == [-9, 0, 5, 6]
    assert ties.elected(kept, of="sum").tolist() == [-9, 0, 5, 12]
    # Twice the first: -3, 0, 5, 10, the last of (2 * 4 + 8) / 3.
    assert ties.elected(kept, weights=[2, 1, 1]).tolist() == pytest.approx([-9, 0, 5, 16 / 3])
    tie = torch.tensor([[2.0, 1.0, 3.0], [-2.0, 1.0, 1.0]])
    assert ties.elected(tie).tolist() == [0, 1, 2]
    assert ties.elected(tie, zeros="positive").tolist() == [2, 1, 2]
    assert ties.elected(tie, zeros="majority").tolist() == [2, 1, 2]
    assert ties.elected(-tie, zeros="majority").tolist() == [-2, -1, -2]
    assert ties.elected(-tie, zeros="positive").tolist() == [2, -1, -2]


def test_ties_of_one_whole_task_is_that_model(make):
    found = vector(ties.merge(make([A], BASE), density=1.0))
    torch.testing.assert_close(found, A)
    twice = vector(ties.merge(make([A], BASE), density=1.0, coefficient=2.0))
    torch.testing.assert_close(twice, 2 * A - BASE)


def test_dare_keeps_the_mean_and_drops_what_it_says(make):
    plain = vector(task_arithmetic.merge(make([A, B], BASE), coefficient=0.5))
    drawn = torch.stack(
        [
            vector(dare.merge(make([A, B], BASE, seed=k), drop=0.8, coefficient=0.5))
            for k in range(500)
        ]
    )
    spread = 0.5 * (((A - BASE).square() + (B - BASE).square()) * 0.8 / 0.2).sqrt()
    assert ((drawn.mean(0) - plain).abs() < 5 * spread / 500**0.5 + 1e-5).all()
    torch.testing.assert_close(drawn.std(0), spread, rtol=0.15, atol=1e-3)
    one = torch.stack([vector(dare.merge(make([A], BASE, seed=k), drop=0.8)) for k in range(200)])
    assert float((one == BASE).float().mean()) == pytest.approx(0.8, abs=0.02)
    plain = vector(dare.merge(make([A], BASE), drop=0.8, coefficient=1.0, rescale=False))
    kept = plain != BASE
    assert 0 < kept.sum() < 36
    torch.testing.assert_close(plain[kept], A[kept])
    nothing = {"drop": 0.0, "coefficient": 0.7}
    sources = make([A, B], BASE)
    torch.testing.assert_close(
        vector(dare.merge(sources, **nothing)),
        vector(task_arithmetic.merge(sources, coefficient=0.7)),
    )
    torch.testing.assert_close(
        vector(dare.merge(sources, then="ties", density=0.4, **nothing)),
        vector(ties.merge(sources, density=0.4, coefficient=0.7)),
    )


@pytest.mark.parametrize("technique", [wise_ft, task_arithmetic, ties, dare])
def test_without_a_base_the_setting_is_named(make, technique):
    with pytest.raises(UserError, match="`base`"):
        technique.merge(make([A, B]))


def test_fisher_is_that_of_a_linear_classifier(make):
    """Its diagonal is E[p (1 - p) x^2], in closed form; with given labels E[(y - p)^2 x^2]."""
    sources = make([A / 4], rows=40)
    rows = normalise(sources.data.images).flatten(1)
    p = (rows @ (A / 4).view(CLASSES, 12).T).softmax(1)
    expected = ((p * (1 - p)).T @ rows.square()) / len(rows)
    found = fisher.diagonal(sources, sources.states[0])
    torch.testing.assert_close(found.float(), expected.flatten())
    drawn = fisher.diagonal(sources, sources.states[0], "drawn", draws=3000)
    torch.testing.assert_close(drawn.float(), expected.flatten(), rtol=0.15, atol=1e-3)
    wrong = functional.one_hot(sources.data.labels, CLASSES) - p
    empirical = (wrong.square().T @ rows.square()) / len(rows)
    found = fisher.diagonal(sources, sources.states[0], "given")
    torch.testing.assert_close(found.float(), empirical.flatten())


@pytest.mark.parametrize("labels", ["expected", "drawn", "given"])
def test_fisher_does_not_depend_on_batches(make, monkeypatch, labels):
    """Neither on the device's, nor on how many gradients are taken at once."""
    found = []
    for batch, memory in ((64, 2**26), (3, 4 * 36 * 7), (2048, 1)):
        monkeypatch.setitem(resident.BATCH, "cpu", batch)
        monkeypatch.setattr(fisher, "MEMORY", memory)
        sources = make([A], rows=40)
        found.append(fisher.diagonal(sources, sources.states[0], labels))
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])


@pytest.mark.parametrize("labels", ["expected", "given"])
def test_fisher_of_text_is_of_single_rows(labels):
    """Of BERT, on rows of two lengths: the mean of the squares of one backward pass a row."""
    net = bert.build_text(30, 3, layers=1, width=8, heads=2, positions=8).eval()
    drawn = np.random.default_rng(0)
    ids = [drawn.integers(1, 30, size=length).tolist() for length in (5, 3, 5, 4, 3)]
    device = torch.device("cpu")
    more: Any = {"pad": 0, "limit": 8, "device": device, "where": "here"}
    data = tokens(ids, [[0] * len(row) for row in ids], [0, 1, 2, 0, 1], **more)
    state = net.state_dict()
    sources = Sources([state], None, net, data, drawn)
    found = fisher.diagonal(sources, state, labels)
    expected = torch.zeros_like(found)
    for row, label in zip(ids, [0, 1, 2, 0, 1], strict=True):
        said = net(torch.tensor([row])).logits.log_softmax(1)[0]
        for answer in range(3):
            share = said[answer].exp().item() if labels == "expected" else float(answer == label)
            slopes = torch.autograd.grad(
                said[answer], [net.get_parameter(n) for n in sources.names], retain_graph=True,
                allow_unused=True, materialize_grads=True,
            )  # fmt: skip
            expected += share * torch.cat([s.flatten() for s in slopes]).double().square() / 5
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-10)


def text(budget: int | None = None):
    """Rows of several lengths, in batches of so many tokens at most, with padding."""
    drawn = np.random.default_rng(0)
    ids = [drawn.integers(1, 30, size=n).tolist() for n in (5, 3, 7, 4, 3, 6, 5, 8)]
    more: Any = {"pad": 0, "limit": 8, "device": torch.device("cpu"), "where": "here"}
    return tokens(ids, [[0] * len(row) for row in ids], [0, 1] * 4, budget=budget, **more), ids


def test_padding_is_no_data():
    """RegMean's inner products are those of the rows one by one, and so are correlations."""
    net = bert.build_text(30, 3, layers=1, width=8, heads=2, positions=8).eval()
    states = [net.state_dict()]
    data, ids = text(budget=1000)
    assert any(inputs.mask is not None for inputs, _ in data.batches())
    sources = Sources(states, None, net, data, np.random.default_rng(0))
    found = regmean.inputs(sources, states[0])
    layer = "bert.encoder.layer.0.intermediate.dense"
    read = []
    with net.get_submodule(layer).register_forward_pre_hook(lambda _, x: read.append(x[0])):
        for row in ids:
            net(torch.tensor([row]))
    rows = torch.cat([x.detach().flatten(0, 1) for x in read]).double()
    torch.testing.assert_close(found[layer], rows.T @ rows, rtol=1e-4, atol=1e-4)
    few = sources._replace(data=text(budget=8)[0])
    [one], [other] = (ot_fusion.correlated(s, [(0, 0)]) for s in (sources, few))
    for name, values in one.items():
        np.testing.assert_allclose(values, other[name], atol=1e-5)


def test_fisher_averages_by_information(make, monkeypatch):
    known = {0: torch.tensor([3.0] * 18 + [0.0] * 18), 1: torch.tensor([1.0] * 18 + [0.0] * 18)}
    sources = make([A, B])
    number = {id(state): k for k, state in enumerate(sources.states)}
    monkeypatch.setattr(fisher, "diagonal", lambda _, state, *rest: known[number[id(state)]])
    found = vector(fisher.merge(sources, floor=1e-6))
    torch.testing.assert_close(found[:18], (3 * A + B)[:18] / 4, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[18:], (A + B)[18:] / 2)


def test_regmean_is_least_squares_to_both_networks(make):
    rows = normalise(images(40).images).flatten(1).double().numpy()
    said = [rows @ w.view(CLASSES, 12).T.double().numpy() for w in (A, 2 * B)]
    sources = make([A, 2 * B], rows=40)
    oracle = np.linalg.lstsq(np.vstack([rows, rows]), np.vstack(said), rcond=None)[0].T
    found = vector(regmean.merge(sources, shrink=1.0)).view(CLASSES, 12)
    np.testing.assert_allclose(found.numpy(), oracle, rtol=1e-5, atol=1e-6)


def test_regmean_of_a_convolution_is_least_squares_of_its_outputs():
    """Convolutions of two networks that read other things: the merge has the least squares."""
    torch.manual_seed(1)
    nets = [resnet.build((6, 6, 3), CLASSES, depth=8, width=2).eval() for _ in range(2)]
    pixels = torch.randint(0, 256, (40, 6, 6, 3), dtype=torch.uint8)
    data = images(1)._replace(images=pixels, labels=torch.arange(40) % CLASSES)
    states = [net.state_dict() for net in nets]
    copy = resnet.build((6, 6, 3), CLASSES, depth=8, width=2)
    sources = Sources(states, None, copy, data, np.random.default_rng(0))
    [merged] = regmean.merge(sources, shrink=1.0)
    layer = "blocks.1.inner.conv"
    read = []
    for net in nets:
        with (
            net.get_submodule(layer).register_forward_pre_hook(lambda _, x: read.append(x[0])),
            torch.no_grad(),
        ):
            net(normalise(pixels))
    conv = nets[0].get_submodule(layer)

    def squares(weight: Tensor) -> float:
        def apply(x: Tensor, w: Tensor) -> Tensor:
            return functional.conv2d(x, w, None, conv.stride, conv.padding).double()

        own = [state[f"{layer}.weight"] for state in states]
        return sum(
            float((apply(x, weight) - apply(x, w)).square().sum())
            for x, w in zip(read, own, strict=True)
        )

    weight = merged[f"{layer}.weight"]
    least = squares(weight)
    assert least < squares(mixed(states)[f"{layer}.weight"])
    for seed in range(20):
        assert least < squares(weight + 1e-2 * numbers(seed, *weight.shape))
    bias = "stem.norm.bias"
    assert torch.equal(merged[bias], mixed(states)[bias])


def test_regmean_without_inner_products_weighs_by_squares(make):
    """Networks that read the same rows then weigh the same."""
    found = vector(regmean.merge(make([A, B]), shrink=0.0))
    torch.testing.assert_close(found, (A + B) / 2)


def test_a_singular_system_is_one_line(make):
    with pytest.raises(UserError, match="regmean.*layer head is singular: 12 inputs") as caught:
        regmean.merge(make([A, B], rows=5), shrink=1.0)
    assert "\n" not in str(caught.value)
    regmean.merge(make([A, B], rows=5))


def step_by_hand(weights: Tensor, data, rate: float) -> Tensor:
    rows = normalise(data.images).flatten(1)
    w = weights.view(CLASSES, 12)
    wrong = (rows @ w.T).softmax(1) - functional.one_hot(data.labels, CLASSES)
    return (w - rate * wrong.T @ rows / len(rows)).flatten()


def test_a_run_is_sgd(make):
    """Forty rows are one batch of 64, so every step is a step of gradient descent."""
    sources = make([A])
    rates = [0.3, 0.1]
    first, second = [
        trajectory.copied(state)["head.weight"].flatten()
        for state in trajectory.run(sources, sources.states[0], rates, momentum=0.0)
    ]
    torch.testing.assert_close(first, step_by_hand(A, sources.data, 0.3))
    torch.testing.assert_close(second, step_by_hand(first, sources.data, 0.1))
    heavy = [
        trajectory.copied(state)["head.weight"].flatten()
        for state in trajectory.run(sources, sources.states[0], [0.3, 0.3], momentum=0.5)
    ]
    expected = step_by_hand(first, sources.data, 0.3) + 0.5 * (first - A)
    torch.testing.assert_close(heavy[1], expected)
    assert torch.equal(sources.states[0]["head.weight"].flatten(), A)


@pytest.mark.parametrize("technique", TRAINING)
def test_batches_of_a_run_are_not_the_devices(make, monkeypatch, technique):
    found = []
    for batch in (7, 2048):
        monkeypatch.setitem(resident.BATCH, "cpu", batch)
        found.append(technique.merge(make([A, B], rows=100)))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one["head.weight"], other["head.weight"])
    whole = technique.merge(make([A, B], rows=100), batch=100)
    assert not torch.equal(whole[0]["head.weight"], found[0][0]["head.weight"])


def test_a_run_takes_rows_of_any_number(make):
    """Steps of two rows of five: each epoch has two, whose rows differ."""
    sources = make([A], rows=5)
    batches = sources.rows().shuffled(2, np.random.default_rng(0))
    epochs = [[next(batches)[0][0] for _ in range(2)] for _ in range(2)]
    every = normalise(sources.data.images)
    for epoch in epochs:
        taken = [int((every == row).flatten(1).all(1).nonzero()) for b in epoch for row in b]
        assert len(set(taken)) == 4
    assert len(next(sources.rows().shuffled(9, np.random.default_rng(0)))[1]) == 5


def test_a_run_that_diverges_says_so(make):
    with pytest.raises(UserError, match="lower the rate"):
        list(trajectory.run(make([A * 1e38]), make([A * 1e38]).states[0], [1e38] * 3, 0.9))


def test_averages_along_a_run(make):
    plain = {"rate": 0.2, "momentum": 0.0}
    w = [A]
    for _ in range(4):
        w.append(step_by_hand(w[-1], images(40), 0.2))
    found = vector(swa.merge(make([A]), points=2, steps=2, **plain))
    torch.testing.assert_close(found, (w[0] + w[2] + w[4]) / 3)
    found = vector(ema.merge(make([A]), steps=2, decay=0.75, **plain))
    torch.testing.assert_close(found, 0.75 * (0.75 * w[0] + 0.25 * w[1]) + 0.25 * w[2])
    both = vector(swa.merge(make([A, B]), points=2, steps=2, **plain))
    alone = vector(swa.merge(make([B]), points=2, steps=2, **plain))
    torch.testing.assert_close(
        both, (vector(swa.merge(make([A]), points=2, steps=2, **plain)) + alone) / 2
    )


def test_cycles(make):
    assert [fast_geometric.rate(i, 4, 1.0, 0.2) for i in range(1, 9)] == pytest.approx(
        [0.6, 0.2, 0.6, 1.0] * 2
    )
    plain = {"momentum": 0.0}
    two = fast_geometric.merge(make([A]), cycles=1, steps=4, high=1.0, low=0.2, **plain)
    expected = step_by_hand(step_by_hand(A, images(40), 0.6), images(40), 0.2)
    torch.testing.assert_close(vector(two), expected)
    # Half a cosine over two steps: the whole rate, then half of it; and again.
    found = snapshot.merge(make([A, B]), cycles=2, steps=2, rate=0.4, **plain)
    w = A
    for k, rate in enumerate([0.4, 0.2, 0.4, 0.2]):
        w = step_by_hand(w, images(40), rate)
        if k % 2:
            torch.testing.assert_close(found[k // 2]["head.weight"].flatten(), w)
    assert len(found) == 4
    assert len(fast_geometric.merge(make([A, B]), cycles=3, steps=2)) == 6


@pytest.mark.parametrize("technique", TRAINING)
def test_training_repeats(make, technique):
    first, second = (technique.merge(make([A, B], rows=200, seed=4)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one["head.weight"], other["head.weight"])
    third = technique.merge(make([A, B], rows=200, seed=5))
    assert not torch.equal(first[0]["head.weight"], third[0]["head.weight"])


def test_swag_draws_have_its_mean_and_covariance():
    points = numbers(7, 6, 4).double() * torch.tensor([1.0, 2.0, 0.5, 0.0])
    found = swag.samples(points, rank=3, count=200_000, generator=np.random.default_rng(0))
    running = torch.stack([points[: k + 1].mean(0) for k in range(6)])
    d = (points - running)[-3:]
    covariance = points.var(0, unbiased=False).diag() / 2 + d.T @ d / (2 * 2)
    assert (found.mean(0) - points.mean(0)).abs().max() < 0.02
    assert (found.T.cov() - covariance).abs().max() < 0.03
    assert len(swag.samples(points, 2, 5, np.random.default_rng(0))) == 5
