"""The shared loop: against a loop written out by hand, and its schedules against the formulas."""

from __future__ import annotations

import copy
from math import cos, pi

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD

from basins.data.resident import normalise
from basins.training import naive, scratch, sgd

EPOCHS, BATCH, LR = 3, 32, 0.1


def by_hand(net, data, order, rate):
    """Train as the docstrings say, batch after batch; `rate` gives the lr of step k of n."""
    optimiser = SGD(net.parameters(), LR, 0.9, weight_decay=1e-4, fused=True)
    count, rows, done = len(data.labels), [], 0
    steps = -(-count // BATCH)
    net.train()
    for epoch in range(1, EPOCHS + 1):
        losses, hits = 0.0, 0
        for batch in torch.randperm(count, generator=order).split(BATCH):
            for group in optimiser.param_groups:
                group["lr"] = lr = rate(done, EPOCHS * steps)
            images = normalise(data.images[batch]).contiguous(memory_format=torch.channels_last)
            logits = net(images)
            loss = functional.cross_entropy(logits, data.labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses += (loss * len(batch)).item()
            hits += int((logits.argmax(1) == data.labels[batch]).sum())
            done += 1
        rows.append({"epoch": epoch, "lr": lr, "loss": losses / count, "accuracy": hits / count})
    net.eval()
    return rows


def weights(net: nn.Module) -> bytes:
    return b"".join(tensor.numpy().tobytes() for tensor in net.state_dict().values())


def step_rate(done: int, steps: int) -> float:
    return LR * 0.1 ** (done // (2 * (steps // EPOCHS)))


def cosine_rate(done: int, steps: int) -> float:
    return LR * (1 + cos(pi * done / steps)) / 2


@pytest.mark.parametrize("schedule, rate", [("step", step_rate), ("cosine", cosine_rate)])
def test_scratch_is_the_loop_by_hand_bit_for_bit(net, clean, order, schedule, rate):
    other, same = copy.deepcopy(net), order.clone_state()
    expected = by_hand(other, clean, same, rate)
    options = dict(epochs=EPOCHS, batch_size=BATCH, lr=LR, momentum=0.9, weight_decay=1e-4)
    rows = list(scratch.train(net, clean, order, schedule=schedule, step_epochs=2, **options))
    assert weights(net) == weights(other)
    assert torch.equal(order.get_state(), same.get_state())
    assert not net.training
    for row, wanted in zip(rows, expected, strict=True):
        assert row == pytest.approx(wanted, rel=1e-12)


def test_naive_fine_tuning_is_the_loop_by_hand_from_the_start(net, clean, cued, order):
    other = copy.deepcopy(net)
    by_hand(other, clean, order.clone_state(), cosine_rate)
    list(naive.finetune(net, clean, cued, order, epochs=EPOCHS, batch_size=BATCH, lr=LR))
    assert weights(net) == weights(other)


def test_a_cosine_goes_from_lr_to_zero_by_way_of_half():
    optimiser = SGD([nn.Parameter(torch.zeros(1))], 0.4)
    scheduler, rates = sgd.cosine(optimiser, 8), []
    for _ in range(9):
        rates.append(scheduler.get_last_lr()[0])
        optimiser.step()
        scheduler.step()
    assert rates[0] == 0.4
    assert rates[4] == pytest.approx(0.2)
    assert rates[8] == pytest.approx(0)
    assert rates == sorted(rates, reverse=True)


def test_a_row_has_means_over_examples_where_the_last_batch_is_smaller(order):
    # Batches of 4, 4 and 2; each example's loss is its own row number.
    labels = torch.arange(10)
    optimiser = SGD([nn.Parameter(torch.zeros(1))], 1.0)

    def step(rows, targets):
        optimiser.step()
        return {"loss": targets.sum(), "squares": rows.square().sum()}

    scheduler = sgd.cosine(optimiser, 6)
    rows = list(sgd.descend(step, labels, order, scheduler, epochs=2, batch_size=4))
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all((row["loss"], row["squares"]) == (4.5, 28.5) for row in rows)
    assert rows[1]["lr"] == pytest.approx((1 + cos(pi * 5 / 6)) / 2)
