"""Fitted paths: their coefficients, the gradient of their inner point, and what a fit achieves."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from basins import seeds
from basins.data.cued import Cued
from basins.data.images import ImageData, Split
from basins.data.resident import normalise, resident
from basins.errors import UserError
from basins.landscape.barriers import barrier_linear
from basins.nets import bert, resnet
from basins.paths import bezier, chain, linear
from basins.paths.engine import Engine, combine
from basins.paths.pairs import grid
from basins.training.classifier import tune
from basins.training.rows import Rows, rows
from basins.weights import FlatModule, flatten, unflatten
from tests.paths.conftest import trained

CPU = torch.device("cpu")
OPTIONS = {"cue_proportion": 0.0, "momentum": 0.9, "weight_decay": 0.01}


def new(seed: int) -> resnet.ResNet:
    with seeds.torch_stream("init", seed):
        return resnet.build((16, 16, 3), 10, depth=8, width=8)


def twice(split: Split) -> Cued:
    return Cued(split, Split(255 - split.images, split.labels))


@pytest.fixture
def batch(data: ImageData) -> Cued:
    """As many images as one batch takes."""
    return twice(Split(data.train.images[:32], data.train.labels[:32]))


@pytest.fixture
def ends() -> list[Tensor]:
    return [flatten(new(seed).state_dict()) for seed in (1, 2)]


@pytest.mark.parametrize("path", [bezier, chain])
def test_ends_are_the_models_bit_for_bit(path, ends):
    out = torch.full_like(ends[0], 7)
    for t, end in ((0.0, ends[0]), (1.0, ends[1])):
        combine((ends[0], torch.full_like(out, 3), ends[1]), path.coefficients(t), out)
        assert torch.equal(out, end)


def test_coefficients_by_hand():
    assert bezier.coefficients(0.5) == (0.25, 0.5, 0.25)
    assert bezier.coefficients(0.25) == (0.5625, 0.375, 0.0625)
    assert chain.coefficients(0.5) == (0, 1, 0)
    assert chain.coefficients(0.125) == (0.75, 0.25, 0)
    assert chain.coefficients(0.75) == (0, 0.5, 0.5)


@pytest.mark.parametrize("path", [bezier, chain])
def test_with_the_bend_at_the_mean_a_path_is_the_straight_line(path):
    ends = np.array([2.0, -3.0])
    for t in grid(9):
        first, inner, second = path.coefficients(t)
        straight = np.array(linear.coefficients(t)) @ ends
        assert first * ends[0] + inner * ends.mean() + second * ends[1] == pytest.approx(straight)


def slow(
    net: nn.Module,
    path,
    start: Tensor,
    ends: Sequence[Tensor],
    data: Split,
    rates: Sequence[float],
    published: bool,
    curve: bool = False,
) -> Tensor:
    """Fit by autograd through every weight at t, with SGD written out; one batch an epoch."""
    order, velocity = seeds.torch_generator("test"), torch.zeros_like(start)
    state = net.state_dict()
    images, labels = resident(data, CPU)
    trained = FlatModule(new(0)).trained
    inner = start.clone().requires_grad_()
    for rate in rates:
        rows = torch.randperm(len(labels), generator=order)
        first, middle, second = path.coefficients(float(torch.rand((), generator=order)))
        mixed = first * ends[0] + middle * inner + second * ends[1]
        weights = unflatten(mixed, state)
        buffers = {name: t.clone() for name, t in net.named_buffers()}
        parameters = {name: weights[name] for name, _ in net.named_parameters()}
        logits = functional_call(net.train(), (parameters, buffers), (normalise(images[rows]),))
        loss = functional.cross_entropy(logits, labels[rows])
        if curve:
            loss = loss + 0.01 / 2 * mixed[trained].square().sum()
        (gradient,) = torch.autograd.grad(loss, inner)
        if published:  # undo the chain rule's factor, scale the rate by it
            gradient, rate = gradient / middle, rate * middle
        with torch.no_grad():
            velocity = 0.9 * velocity + gradient + (0 if curve else 0.01 * inner)
            inner -= rate * velocity
    return torch.where(trained, inner.detach(), (ends[0] + ends[1]) / 2)


@pytest.mark.parametrize("path", [bezier, chain])
@pytest.mark.parametrize("protocol", ["published", "corrected"])
@pytest.mark.parametrize("decayed", ["inner", "curve"])
def test_a_fit_follows_the_gradient_of_the_inner_point(decayed, protocol, path, batch, ends):
    """Six epochs of one batch: four at the rate, two at a tenth of it."""
    net = new(0)
    start = flatten(net.state_dict()) if protocol == "published" else (ends[0] + ends[1]) / 2
    rates = [0.1] * 4 + [0.01] * 2
    published, curve = protocol == "published", decayed == "curve"
    expected = slow(new(0), path, start, ends, batch.plain, rates, published, curve)
    order = seeds.torch_generator("test")
    options = OPTIONS | {"epochs": 6, "batch_size": 32, "lr": 0.1, "protocol": protocol}
    options["decayed"] = decayed
    rows = list(path.fit(net, ends, batch, order, **options))
    torch.testing.assert_close(flatten(net.state_dict()), expected, rtol=1e-3, atol=1e-4)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert not net.training


def test_cue_proportion_says_what_a_path_is_fitted_on(batch, ends):
    options = OPTIONS | {"epochs": 1, "batch_size": 32, "lr": 0.1}

    def fitted(data: Cued, proportion: float) -> Tensor:
        net, order = new(0), seeds.torch_generator("test")
        list(bezier.fit(net, ends, data, order, **options | {"cue_proportion": proportion}))
        return flatten(net.state_dict())

    other = Cued(batch.cued, batch.plain)
    assert torch.equal(fitted(batch, 1.0), fitted(other, 0.0))
    assert not torch.equal(fitted(batch, 1.0), fitted(batch, 0.0))


def test_a_divergent_fit_is_one_line(batch, ends):
    options = OPTIONS | {"epochs": 9, "batch_size": 32, "lr": 1e30}
    with pytest.raises(UserError, match=r"^diverged in epoch \d: the loss is (nan|inf); lower lr"):
        list(bezier.fit(new(0), ends, batch, seeds.torch_generator("test"), **options))


def test_the_ends_stay_as_they_are(batch, ends):
    before = [end.clone() for end in ends]
    options = OPTIONS | {"epochs": 2, "batch_size": 16, "lr": 0.1}
    list(bezier.fit(new(0), ends, batch, seeds.torch_generator("test"), **options))
    assert all(torch.equal(a, b) for a, b in zip(before, ends, strict=True))


@pytest.mark.parametrize("path", [bezier, chain])
def test_a_fitted_path_has_a_lower_barrier_than_the_straight_line(path, data, calibration):
    """Between two networks that were trained apart; losses of the images that it was fitted on."""
    nets = [trained("resnet", seed, data) for seed in (0, 1)]
    ends = [flatten(net.state_dict()) for net in nets]
    with seeds.torch_stream("init", 2):
        bend = resnet.build((16, 16, 3), 10, depth=8, width=8)
    order = seeds.torch_generator("test")
    options = OPTIONS | {"epochs": 8, "batch_size": 64, "lr": 0.1, "weight_decay": 5e-4}
    list(path.fit(bend, ends, twice(data.train), order, **options))
    inner, engine = flatten(bend.state_dict()), Engine(nets[0])

    def barrier(controls: list[Tensor], kind) -> float:
        points = [tuple(kind.coefficients(t)) for t in grid(9)]
        found = engine.along(controls, points, {"reset": calibration}, {"train": calibration})
        losses = [e.losses.mean() for e in found["reset", "train"]]
        return float(barrier_linear(grid(9), np.array(losses)))

    # Measured .3 to .6 of it: training rounds differently on every kind of processor.
    assert barrier([ends[0], inner, ends[1]], path) < 0.75 * barrier(ends, linear)


def test_options_are_those_of_a_fit():
    names = {p.name for p in inspect.signature(bezier.fit, eval_str=True).parameters.values()}
    assert names >= {"net", "ends", "data", "order", "cue_proportion", "epochs", "lr", "protocol"}
    assert "coefficients" not in names


def sentences() -> Rows:
    """Rows of a text whose class is whether the second token is over 10."""
    draw = torch.Generator().manual_seed(0)
    ids = [torch.randint(1, 20, (3 + i % 4,), generator=draw).tolist() for i in range(64)]
    labels = [int(row[1] > 10) for row in ids]
    types = [[0] * len(row) for row in ids]
    return rows(ids, types, labels, pad=0, limit=8, device=CPU, where="mine")


def test_a_bend_is_fitted_between_text_classifiers():
    data = sentences()

    def build(seed: int) -> nn.Module:
        with seeds.torch_stream("init", seed):
            return bert.build_text(20, 2, layers=1, width=16, heads=2, positions=8)

    def loss(net: nn.Module) -> float:
        with torch.inference_mode():
            logits = net.eval()(*data.batch(torch.arange(64))).logits
            return float(functional.cross_entropy(logits, data.labels))

    ends = []
    for seed in (1, 2):
        net = build(seed)
        options = {"epochs": 20, "batch_size": 16, "lr": 5e-3, "warmup": 0.0}
        for _ in tune(net, data, torch.Generator().manual_seed(0), lambda step: None, **options):
            pass
        ends.append(flatten(net.state_dict()).clone())
    net = build(3)
    flat = FlatModule(net)
    combine(ends, (0.5, 0.5), flat.vector)
    straight = loss(net)
    bent, order = build(4), torch.Generator().manual_seed(0)
    options = {"epochs": 20, "batch_size": 16, "lr": 0.05, "momentum": 0.9, "weight_decay": 0.0}
    log = list(chain.fit(bent, ends, lambda *shares: data, order, **options))
    assert log[-1]["loss"] < log[0]["loss"]
    assert loss(bent) < 0.8 * straight
