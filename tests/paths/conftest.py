"""A tiny trained network and its data, made once for all tests of paths."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from basins import seeds
from basins.data import shapes
from basins.data.images import ImageData
from basins.data.resident import Resident, resident
from basins.nets import mlp, resnet
from basins.nets.permutation import Net
from basins.training.scratch import train

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def data() -> ImageData:
    return shapes.load(source="synthetic", root=Path("."), seed=0, train=512, test=200, size=16)


@pytest.fixture(scope="session")
def examples(data: ImageData) -> Resident:
    return resident(data.test, CPU)


@pytest.fixture(scope="session")
def calibration(data: ImageData) -> Resident:
    return resident(data.train, CPU)


def trained(kind: str, seed: int, data: ImageData) -> Net:
    """Return a small net whose weights matter, as a copy: a test may change it."""
    if (kind, seed) not in known:
        known[kind, seed] = train_small(kind, seed, data)
    return copy.deepcopy(known[kind, seed])


known: dict[tuple[str, int], Net] = {}
"""The nets that are trained already, all on the same data."""


def train_small(kind: str, seed: int, data: ImageData) -> Net:
    """Train until permuting units raises the loss."""
    with seeds.torch_stream("init", seed):
        if kind == "mlp":
            net = mlp.build((16, 16, 3), 10, depth=2, width=32)
        else:
            net = resnet.build((16, 16, 3), 10, depth=8, width=8)
    lr, epochs = (0.02, 30) if kind == "mlp" else (0.1, 8)
    order = seeds.torch_generator("order", seed)
    options = {"batch_size": 64, "momentum": 0.9, "weight_decay": 5e-4, "schedule": "one_cycle"}
    rows = train(net, resident(data.train, CPU), order, lr=lr, epochs=epochs, **options)
    assert np.isfinite([row["loss"] for row in rows]).all()
    return net
