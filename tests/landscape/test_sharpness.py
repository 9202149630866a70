"""Sharpness against maxima known in closed form, and on networks as small as can be."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from basins.data.resident import Resident, normalise
from basins.data.tokens import Tokens, tokens
from basins.item import get
from basins.landscape import sharpness
from basins.nets import mlp, resnet
from basins.paths.evaluation import evaluate
from basins.store import folder_hash
from tests.paths.conftest import data
from tests.paths.test_points import models, nothing, sets

__all__ = ["data", "models", "sets"]  # fixtures
CPU = torch.device("cpu")


def numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Quadratic:
    """sum of a / 2 (y - m)^2, which remembers where it was asked."""

    def __init__(self, a: Tensor, m: Tensor) -> None:
        self.a, self.m = a, m
        self.asked: list[Tensor] = []

    def __call__(self, y: Tensor) -> tuple[float, Tensor]:
        self.asked.append(y.clone())
        return float((self.a / 2 * (y - self.m) ** 2).sum()), self.a * (y - self.m)


def images(count: int, classes: int, seed: int = 0) -> Resident:
    stream = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 4, 4, 3), generator=stream, dtype=torch.uint8)
    return Resident(pixels, torch.randint(0, classes, (count,), generator=stream))


def small(seed: int = 0) -> mlp.MLP:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return mlp.build((4, 4, 3), 3, depth=1, width=6)


def test_a_convex_bowl_is_highest_in_the_far_corner():
    a, m, w, radius = numbers(0, 30).abs(), numbers(1, 30), numbers(2, 30), numbers(3, 30).abs()
    bowl = Quadratic(a, m)
    for passes in (1, 4):
        first, best = sharpness.highest(bowl, w, radius, nothing, step=1.0, passes=passes)
        assert first == pytest.approx(float((a / 2 * (w - m) ** 2).sum()))
        assert best == pytest.approx(float((a / 2 * ((w - m).abs() + radius) ** 2).sum()))


def test_a_saddle_is_highest_at_far_ends_and_tops_within_reach():
    a, m, w, radius = numbers(0, 30), numbers(1, 30), numbers(2, 30), numbers(3, 30).abs()
    top = torch.clamp(m, w - radius, w + radius)
    expected = torch.where(a > 0, a / 2 * ((w - m).abs() + radius) ** 2, a / 2 * (top - m) ** 2)
    _, best = sharpness.highest(Quadratic(a, m), w, radius, nothing, step=1.0, passes=40)
    assert best <= float(expected.sum()) + 1e-4
    assert best == pytest.approx(float(expected.sum()), abs=0.02)


@pytest.mark.parametrize("step", [0.3, 1.0])
def test_an_ascent_never_leaves_its_box(step):
    a, m, w, radius = numbers(0, 30), numbers(1, 30), numbers(2, 30), 3 * numbers(3, 30).abs()
    radius[:5] = 0
    bowl, calls = Quadratic(a, m), []
    sharpness.highest(bowl, w, radius, lambda: calls.append(1), step=step, passes=7)
    assert len(bowl.asked) == 8 and len(calls) == 7
    for y in bowl.asked:
        assert bool(((y >= w - radius) & (y <= w + radius)).all())
    assert bool((torch.stack(bowl.asked)[:, :5] == w[:5]).all())
    assert bool((torch.stack(bowl.asked)[1] != w)[5:].all())


def test_at_a_top_there_is_nothing_higher():
    m = numbers(0, 10)
    top = Quadratic(-torch.ones(10), m)
    assert sharpness.highest(top, m, torch.ones(10), nothing, step=1.0, passes=3) == (0.0, 0.0)


def test_a_small_box_gives_the_first_order_rise():
    net, data = small(), images(40, 3)
    found = sharpness.sharpness(net, data, nothing, epsilon=1e-4, passes=1)
    logits = net(normalise(data.images))
    nn.functional.cross_entropy(logits, data.labels).backward()
    rise = sum(
        float((1e-4 * (p.detach().abs() + 1) * p.grad.abs()).sum()) for p in net.parameters()
    )
    assert found.loss == pytest.approx(float(evaluate(net, data).losses.mean()))
    assert found.n == 40
    assert found.worst - found.loss == pytest.approx(rise, rel=0.02)
    assert found.sharpness == pytest.approx(100 * (found.worst - found.loss) / (1 + found.loss))


def test_no_random_corner_is_higher_and_the_net_stays():
    net, data = small(), images(40, 3)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    found = sharpness.sharpness(net, data, nothing, epsilon=0.02, passes=10)
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name])
    stream = torch.Generator().manual_seed(0)
    for _ in range(100):
        for name, tensor in net.state_dict().items():
            signs = torch.randint(0, 2, tensor.shape, generator=stream) * 2 - 1
            tensor.copy_(before[name] + 0.02 * (before[name].abs() + 1) * signs)
        assert float(evaluate(net, data).losses.mean()) < found.worst


def test_it_ascends_without_dropout_and_leaves_batchnorm_alone(data):
    plain = small()
    dropped = nn.Sequential(
        OrderedDict(flat=nn.Flatten(), a=plain.hidden[0], drop=nn.Dropout(), b=plain.head)
    ).train()
    options = {"epsilon": 0.01, "passes": 2}
    examples = images(40, 3)
    assert sharpness.sharpness(dropped, examples, nothing, **options) == sharpness.sharpness(
        plain, examples, nothing, **options
    )

    net = resnet.build((16, 16, 3), 10, depth=8, width=4)
    net.train()(normalise(torch.from_numpy(np.array(data.train.images[:64]))))
    statistics = {k: v.clone() for k, v in net.state_dict().items() if "running" in k}
    seen = []
    net.stem.norm.register_forward_hook(lambda module, *_: seen.append(module.running_var.clone()))
    test = Resident(*(torch.from_numpy(np.array(part[:50])) for part in data.test))
    sharpness.sharpness(net, test, nothing, **options)
    assert len(seen) == 3 and all(torch.equal(s, statistics["stem.norm.running_var"]) for s in seen)
    assert all(torch.equal(net.state_dict()[name], kept) for name, kept in statistics.items())


class Words(nn.Module):
    """The mean of the words of a text, classified."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(20, 6), nn.Linear(6, classes)
        for weight in self.parameters():
            weight.data = numbers(1, *weight.shape)

    def forward(self, ids: Tensor, mask: Tensor | None, types: Tensor) -> Tensor:
        real = (torch.zeros(len(ids), 1, 1, 1) if mask is None else mask)[:, 0, 0, :, None].exp()
        return self.head((self.words(ids) * real).sum(1) / (real + 0 * ids[..., None]).sum(1))


def texts(rows: slice, merge: Tensor | None) -> Tokens:
    """Texts of 1 to 9 words, which come in batches sorted by length."""
    stream = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 10, (30,), generator=stream).tolist()
    ids = [torch.randint(1, 20, (n,), generator=stream).tolist() for n in lengths][rows]
    labels = torch.randint(0, 2, (30,), generator=stream).tolist()[rows]
    more = {"pad": 0, "limit": 9, "device": CPU, "where": "texts", "budget": 30}
    return replace(tokens(ids, [[0] * len(i) for i in ids], labels, **more), merge=merge)


@pytest.mark.parametrize("merge", [None, torch.tensor([0, 1, 1])])
def test_the_first_examples_are_the_datasets_first_rows(merge):
    net, options = Words(3), {"epsilon": 0.01, "passes": 2}
    everything = texts(slice(None), merge)
    assert len(everything.parts) > 3
    part = sharpness.sharpness(net, everything, nothing, examples=7, **options)
    alone = sharpness.sharpness(net, texts(slice(7), merge), nothing, **options)
    assert part.n == 7 and part == pytest.approx(alone, rel=1e-4)
    whole = sharpness.sharpness(net, everything, nothing, examples=99, **options)
    assert whole.n == 30
    losses = evaluate(net, everything).losses
    assert whole.loss == pytest.approx(losses.mean(), rel=1e-5)
    assert part.loss == pytest.approx(losses[:7].mean(), rel=1e-5)


def test_a_model_is_measured_once(models, sets):
    fingerprint = folder_hash(Path("data"))

    def job(**options):
        return sharpness.Ascent(models[0], Path("data"), fingerprint, "test", options, CPU)

    steps: list[int] = []
    item = job(epsilon=0.001, passes=2, examples=50)
    found = get(item, lambda: steps.append(1))
    assert len(steps) == 2 and found.n == 50 and found.sharpness > 0
    assert get(item, lambda: steps.append(1)) == found
    assert len(steps) == 2
    wider = get(job(epsilon=0.002, passes=2, examples=50), lambda: steps.append(1))
    assert len(steps) == 4
    assert wider.loss == found.loss and wider.worst > found.worst
