"""Training: the same seed gives the same bytes, divergence is said, schedules are the paper's."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from basins import seeds
from basins.data import shapes
from basins.data.images import Split
from basins.data.resident import resident
from basins.errors import UserError
from basins.nets import mlp, resnet
from basins.training.scratch import train

OPTIONS = {"epochs": 2, "batch_size": 32, "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}
DATA = shapes.load(source="synthetic", root=Path("."), seed=0, train=200, test=10, size=16).train


def trained(init: int = 0, order: int = 0, data: Split = DATA, net=None, **options):
    with seeds.torch_stream("init", init):
        net = net or resnet.build((16, 16, 3), 10, depth=8, width=4)
    examples = resident(data, torch.device("cpu"))
    stream = seeds.torch_generator("order", order)
    rows = list(train(net, examples, stream, **{**OPTIONS, "schedule": "one_cycle", **options}))
    return net, rows


def bytes_of(net) -> bytes:
    return b"".join(tensor.numpy().tobytes() for tensor in net.state_dict().values())


def test_the_same_seed_gives_the_same_bytes():
    once, again = trained()[0], trained()[0]
    assert bytes_of(once) == bytes_of(again)


@pytest.mark.parametrize("changed", [{"init": 1}, {"order": 1}, {"lr": 0.05}])
def test_each_stream_and_option_matters(changed):
    assert bytes_of(trained()[0]) != bytes_of(trained(**changed)[0])


def test_global_randomness_is_neither_used_nor_changed():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    once = bytes_of(trained()[0])
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(1)
    assert bytes_of(trained()[0]) == once


def test_the_log_holds_the_mean_loss_of_the_epoch():
    # With a rate this small the weights hardly move: the mean is that of the untrained network.
    net = mlp.build((16, 16, 3), 10, depth=1, width=8)
    with torch.no_grad():
        images = torch.from_numpy(DATA.images).permute(0, 3, 1, 2).float() / 127.5 - 1
        logits = net(images)
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(DATA.labels)).item()
        accuracy = (logits.argmax(1).numpy() == DATA.labels).mean()
    _, rows = trained(net=net, lr=1e-12, weight_decay=0.0, epochs=1, schedule="step")
    assert rows[0]["loss"] == pytest.approx(loss, abs=1e-5)
    assert rows[0]["accuracy"] == pytest.approx(accuracy)


def test_training_learns():
    rows = trained(epochs=30)[1]
    assert rows[-1]["accuracy"] > 0.6 > 0.3 > rows[0]["accuracy"]
    assert [row["epoch"] for row in rows] == list(range(1, 31))


def test_the_step_schedule_divides_by_ten():
    rows = trained(epochs=6, schedule="step", step_epochs=2)[1]
    rates = [row["lr"] for row in rows]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_the_one_cycle_schedule_ends_near_zero():
    assert trained(epochs=3)[1][-1]["lr"] < 1e-4


def test_divergence_is_one_clear_line():
    with pytest.raises(UserError, match=r"diverged in epoch 1: the loss is (nan|inf).*lower lr"):
        trained(lr=1e9, schedule="step")


def test_a_uniform_guess_costs_log_of_the_classes():
    net = mlp.build((16, 16, 3), 10, depth=1, width=4)
    torch.nn.init.zeros_(net.head.weight)
    torch.nn.init.zeros_(net.head.bias)
    _, rows = trained(net=net, lr=1e-12, weight_decay=0.0, epochs=1, schedule="step")
    assert rows[0]["loss"] == pytest.approx(math.log(10), abs=1e-5)
