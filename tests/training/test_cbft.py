"""CBFT: each term by hand and by slow means, the whole against a plain loop, and its ablations."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from basins.data.resident import normalise
from basins.errors import UserError
from basins.nets import mlp, resnet
from basins.training import cbft, naive

LR, BATCH = 0.01, 32


def slow_invariance(read, labels, cued_read, cued_labels, classes):
    total = 0.0
    for k in range(classes):
        if (labels == k).any() and (cued_labels == k).any():
            mean, cued_mean = read[labels == k].mean(0), cued_read[cued_labels == k].mean(0)
            total = total + (mean / mean.norm() - cued_mean / cued_mean.norm()).pow(2).sum()
    return total / classes


def slow(net, clean, cued, order, *, epochs, barrier_weight, invariance_weight, protocol):
    """Return the rows of CBFT on a copied network for each line, one plain operation at a time."""
    start, momenta = copy.deepcopy(net), [torch.zeros_like(p) for p in net.parameters()]
    steps, waiting, done, rows = -(-len(clean.labels) // BATCH), [], 0, []

    def move(gradients, lr):
        with torch.no_grad():
            for p, m, gradient in zip(net.parameters(), momenta, gradients, strict=True):
                m.mul_(0.9).add_(gradient + 1e-4 * p)
                p.sub_(lr * m)

    for epoch in range(epochs):
        sums = np.zeros(4)
        for batch in torch.randperm(len(clean.labels), generator=order).split(BATCH):
            after = max(0, done - 2 * steps) if protocol == "published" else done
            lr = LR * (1 + np.cos(np.pi * after / (epochs * steps))) / 2
            if len(waiting) < BATCH:
                waiting = torch.randperm(len(cued.labels), generator=order).tolist()
            cued_batch, waiting = waiting[:BATCH], waiting[BATCH:]
            cued_images = normalise(cued.images[cued_batch]).double()
            cued_labels = cued.labels[cued_batch]
            off = apart = torch.zeros(())
            if barrier_weight:
                if protocol == "published":
                    t = 0.5 + 0.5 * torch.randn((), generator=order).clamp(-0.5, 0.5).item()
                else:
                    u = torch.rand((), generator=order, dtype=torch.float64).item()
                    t = stats.truncnorm.ppf(u, -1, 1, loc=0.5, scale=0.5)
                line = copy.deepcopy(net).train()
                for p, a, b in zip(*(n.parameters() for n in (line, start, net)), strict=True):
                    p.data = t * a.data + (1 - t) * b.data
                off = (functional.cross_entropy(line(cued_images), cued_labels) - 1).abs()
                gradients = torch.autograd.grad(barrier_weight * off, list(line.parameters()))
                move([(1 - t) * gradient for gradient in gradients], lr)
            net.train()
            labels = clean.labels[batch]
            read = net.blocks(net.stem(normalise(clean.images[batch]).double())).mean((2, 3))
            logits = net.head(read)
            loss = objective = functional.cross_entropy(logits, labels)
            if invariance_weight and epoch > 0:
                cued_read = net.blocks(net.stem(cued_images)).mean((2, 3))
                apart = slow_invariance(read, labels, cued_read, cued_labels, 10)
                objective = loss + invariance_weight * apart
            move(torch.autograd.grad(objective, list(net.parameters())), lr)
            hits = (logits.argmax(1) == labels).float().mean()
            sums += len(batch) * np.array([x.item() for x in (loss, hits, off, apart)])
            done += 1
        means = sums / len(clean.labels)
        rows.append([epoch + 1, lr, *means])
    return rows


ON = {"barrier_weight": 1.0, "invariance_weight": 1.0}


@pytest.mark.parametrize(
    "options",
    [
        {**ON, "protocol": "corrected"},
        {**ON, "protocol": "published"},
        {**ON, "barrier_weight": 0.0, "protocol": "corrected"},
        {**ON, "invariance_weight": 0.0, "protocol": "corrected"},
        {"barrier_weight": 0.5, "invariance_weight": 2.0, "protocol": "corrected"},
    ],
)
def test_it_is_the_plain_loop(net, clean, cued, order, options):
    # In float64, since training doubles rounding at every step.
    net.double().register_forward_pre_hook(lambda net, inputs: (inputs[0].double(),))
    other, same = copy.deepcopy(net), order.clone_state()
    expected = slow(other, clean, cued, same, epochs=3, **options)
    rows = list(cbft.finetune(net, clean, cued, order, epochs=3, batch_size=BATCH, **options))
    assert torch.equal(order.get_state(), same.get_state())
    np.testing.assert_allclose([list(row.values()) for row in rows], expected, rtol=1e-9)
    for name, weights in net.state_dict().items():
        torch.testing.assert_close(weights, other.state_dict()[name], rtol=1e-9, atol=1e-9)
    assert not net.training


def test_without_both_terms_it_is_naive_fine_tuning(net, clean, cued, order):
    other, same = copy.deepcopy(net), order.clone_state()
    options = {"epochs": 1, "batch_size": BATCH, "lr": LR}
    list(naive.finetune(other, clean, cued, same, **options))
    off = {"barrier_weight": 0.0, "invariance_weight": 0.0}
    rows = list(cbft.finetune(net, clean, cued, order, **options, **off))
    assert (rows[0]["barrier"], rows[0]["invariance"]) == (0, 0)
    for name, weights in net.state_dict().items():
        assert torch.equal(weights, other.state_dict()[name]), name


def line(margin: float):
    """Return a network, the weights of another, and the barrier as a function of t, in float64."""
    generator = torch.Generator().manual_seed(0)
    net, start = (resnet.build((8, 8, 3), 3, depth=8, width=2).double() for _ in range(2))
    for p in [*net.parameters(), *start.parameters()]:
        p.data = torch.randn(p.shape, generator=generator, dtype=torch.float64) / 2
    images = torch.randn(12, 3, 8, 8, generator=generator, dtype=torch.float64)
    labels = torch.arange(12) % 3
    spare = {name: buffer.clone() for name, buffer in net.named_buffers()}
    ends = dict(start.named_parameters())
    return net, ends, lambda t: cbft.barrier(net, ends, spare, t, images, labels, margin)


@pytest.mark.parametrize("margin", [0.0, 50.0])  # below the loss, and above it
def test_the_barriers_gradient_is_the_slope(margin):
    net, _, value = line(margin)
    generator = torch.Generator().manual_seed(1)
    direction = [torch.randn(p.shape, generator=generator).double() for p in net.parameters()]
    for t in (0.0, 0.3, 0.75):
        gradients = torch.autograd.grad(value(t), list(net.parameters()))
        slope = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True)).item()
        beside = []
        for step in (1e-6, -2e-6):
            for p, d in zip(net.parameters(), direction, strict=True):
                p.data += step * d
            beside.append(value(t).item())
        for p, d in zip(net.parameters(), direction, strict=True):
            p.data += 1e-6 * d
        assert slope == pytest.approx((beside[0] - beside[1]) / 2e-6, rel=1e-4)


def test_the_line_begins_at_the_network_and_ends_at_the_start():
    net, ends, value = line(0.0)
    here, there = value(0.0), value(1.0)
    assert sum(g.abs().sum() for g in torch.autograd.grad(there, list(net.parameters()))) == 0
    net.load_state_dict(ends, strict=False)
    torch.testing.assert_close(value(0.0), there.detach())
    assert abs(here - there) > 0.1


def test_the_barrier_leaves_the_networks_statistics_alone():
    net, _, value = line(1.0)
    before = copy.deepcopy(dict(net.named_buffers()))
    value(0.5).backward()
    assert all(torch.equal(now, before[name]) for name, now in net.named_buffers())


def test_invariance_by_hand():
    # Class 0: directions (1, 0) and (0, 1), squared distance 2; class 1: both (0, 1); class 2 is in
    # one batch only, class 3 in none: 2 / 4.
    read = torch.tensor([[3.0, 1.0], [1.0, -1.0], [0.0, 2.0], [5.0, 5.0]])
    cued_read = torch.tensor([[0.0, 0.1], [0.0, 7.0]])
    found = cbft.invariance(
        read, torch.tensor([0, 0, 1, 2]), cued_read, torch.tensor([0, 1]), classes=4
    )
    assert found.item() == pytest.approx(0.5)


def test_invariance_is_the_loop_over_classes_and_pulls_on_both_sides():
    generator = torch.Generator().manual_seed(0)
    read, cued_read = (
        torch.randn(n, 5, generator=generator, dtype=torch.float64).requires_grad_() for n in (9, 7)
    )
    labels = torch.tensor([0, 0, 1, 1, 1, 3, 3, 4, 4])
    cued_labels = torch.tensor([0, 1, 1, 2, 3, 3, 0])
    arguments = read, labels, cued_read, cued_labels, 6
    found, expected = cbft.invariance(*arguments), slow_invariance(*arguments)
    torch.testing.assert_close(found, expected)
    for gradient, wanted in zip(
        torch.autograd.grad(found, (read, cued_read)),
        torch.autograd.grad(expected, (read, cued_read)),
        strict=True,
    ):
        assert wanted.abs().sum() > 0
        torch.testing.assert_close(gradient, wanted)


def test_published_positions_lie_mostly_on_two_ends(order):
    drawn = np.array([cbft.clipped(order) for _ in range(20_000)])
    assert (drawn.min(), drawn.max()) == (0.25, 0.75)
    ends = np.isin(drawn, (0.25, 0.75))
    assert ends.mean() == pytest.approx(2 * stats.norm.cdf(-0.5), abs=0.015)  # 61.7 %
    assert drawn.mean() == pytest.approx(0.5, abs=0.01)


def test_corrected_positions_are_a_truncated_normal(order):
    drawn = np.array([cbft.truncated(order) for _ in range(20_000)])
    wanted = stats.truncnorm(-1, 1, loc=0.5, scale=0.5)
    assert 0 <= drawn.min() < 0.01 < 0.99 < drawn.max() <= 1
    assert drawn.mean() == pytest.approx(0.5, abs=0.01)
    assert drawn.var() == pytest.approx(0.25 * (1 - 2 * stats.norm.pdf(1) / 0.682689), abs=0.002)
    assert stats.kstest(drawn, wanted.cdf).pvalue > 0.001


def test_no_cued_image_comes_again_before_all_whole_batches_have(order):
    batches = cbft.endless(11, 4, order)
    for _ in range(3):
        seen = torch.cat([next(batches), next(batches)])
        assert len(seen) == len(set(seen.tolist())) == 8
    few = cbft.endless(3, 4, order)
    assert sorted(next(few).tolist()) == sorted(next(few).tolist()) == [0, 1, 2]


@pytest.mark.parametrize("protocol, last", [("published", 2.7e-4), ("corrected", 6.2e-7)])
def test_two_hundred_steps_end_at_the_rate_of_the_protocol(clean, cued, order, protocol, last):
    net = mlp.build((16, 16, 3), 10, depth=1, width=4)
    rows = list(cbft.finetune(net, clean, cued, order, batch_size=10, protocol=protocol))
    assert len(rows) == 20
    assert rows[-1]["lr"] == pytest.approx(last, rel=0.02)


def test_invariance_begins_after_the_warm_up(net, clean, cued, order):
    options = {"epochs": 3, "batch_size": BATCH, "warm_up": 2}
    rows = list(cbft.finetune(net, clean, cued, order, **options))
    assert [row["invariance"] > 0 for row in rows] == [False, False, True]
    assert list(rows[0]) == ["epoch", "lr", "loss", "accuracy", "barrier", "invariance"]


def test_divergence_is_one_clear_line(net, clean, cued, order):
    with pytest.raises(UserError, match=r"diverged in epoch 1: the loss is (nan|inf); lower lr"):
        list(cbft.finetune(net, clean, cued, order, batch_size=BATCH, lr=1e9))
