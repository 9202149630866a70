"""Last-layer retraining, and it followed by fine-tuning."""

from __future__ import annotations

import copy
from math import cos, pi

import pytest
import torch
from torch.nn import functional

from basins.data.resident import normalise
from basins.errors import UserError
from basins.training import llrt, lpft, naive


def uncached(net, data, order, *, epochs, batch_size, lr):
    """Retrain the last layer with the whole network in every step."""
    for weights in net.head.parameters():
        bound = 1 / net.head.in_features**0.5
        weights.data = torch.empty(weights.shape).uniform_(-bound, bound, generator=order)
    optimiser = torch.optim.SGD(net.head.parameters(), lr, momentum=0.9)
    steps, done = epochs * -(-len(data.labels) // batch_size), 0
    net.eval()
    for _ in range(epochs):
        for batch in torch.randperm(len(data.labels), generator=order).split(batch_size):
            optimiser.param_groups[0]["lr"] = lr * (1 + cos(pi * done / steps)) / 2
            logits = net(normalise(data.images[batch]))
            optimiser.zero_grad()
            functional.cross_entropy(logits, data.labels[batch]).backward()
            optimiser.step()
            done += 1


@pytest.mark.parametrize("lr", [0.1, 30.0])
def test_cached_features_give_what_the_whole_network_gives(net, clean, cued, order, lr):
    other = copy.deepcopy(net)
    options = {"epochs": 5, "batch_size": 32, "lr": lr}
    uncached(other, clean, order.clone_state(), **options)
    list(llrt.finetune(net, clean, cued, order, **options))
    torch.testing.assert_close(net.head.weight, other.head.weight, rtol=1e-4, atol=1e-4 * lr)
    torch.testing.assert_close(net.head.bias, other.head.bias, rtol=1e-4, atol=1e-4 * lr)


def test_all_but_the_last_layer_stays_bit_for_bit(net, clean, cued, order):
    before = copy.deepcopy(net.state_dict())
    list(llrt.finetune(net, clean, cued, order, epochs=2, batch_size=32))
    changed = {n for n, now in net.state_dict().items() if not torch.equal(now, before[n])}
    assert changed == {"head.weight", "head.bias"}
    assert not any(module.training for module in net.modules())


def test_the_new_layer_knows_nothing_of_the_old_nor_of_global_randomness(net, clean, cued, order):
    other = copy.deepcopy(net)
    torch.nn.init.ones_(other.head.weight)
    same, state = order.clone_state(), torch.get_rng_state()
    list(llrt.finetune(net, clean, cued, order, epochs=1))
    list(llrt.finetune(other, clean, cued, same, epochs=1))
    assert torch.equal(net.head.weight, other.head.weight)
    assert torch.equal(state, torch.get_rng_state())


def test_a_diverging_last_layer_is_one_clear_line(net, clean, cued, order):
    with pytest.raises(UserError, match=r"diverged in epoch \d: the loss is (nan|inf); lower lr"):
        list(llrt.finetune(net, clean, cued, order, lr=1e38, epochs=9))


def test_lpft_is_the_one_and_then_the_other(net, clean, cued, order):
    other, same = copy.deepcopy(net), order.clone_state()
    first = list(llrt.finetune(other, clean, cued, same, epochs=3, batch_size=32))
    then = list(naive.finetune(other, clean, cued, same, epochs=2, batch_size=32, lr=0.01))
    options = {"head_epochs": 3, "epochs": 2, "batch_size": 32, "lr": 0.01}
    rows = list(lpft.finetune(net, clean, cued, order, **options))
    for name, weights in net.state_dict().items():
        assert torch.equal(weights, other.state_dict()[name]), name
    assert [row.pop("epoch") for row in rows] == [1, 2, 3, 4, 5]
    assert rows == [{k: v for k, v in row.items() if k != "epoch"} for row in first + then]
