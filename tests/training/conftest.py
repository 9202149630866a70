"""A small network, and a few images of it without and with a cue."""

from pathlib import Path

import pytest
import torch

from basins import seeds
from basins.data import shapes
from basins.data.resident import Resident, resident
from basins.nets import resnet

CPU = torch.device("cpu")


def load(seed: int, count: int) -> Resident:
    drawn = shapes.load(source="synthetic", root=Path("."), seed=seed, train=count, test=1, size=16)
    return resident(drawn.train, CPU)


@pytest.fixture(scope="session")
def clean() -> Resident:
    return load(0, 100)


@pytest.fixture(scope="session")
def cued() -> Resident:
    images, labels = load(1, 150)
    images = images.clone()
    images[:, :3] = 25 * labels[:, None, None, None].byte()  # three rows whose grey is the class
    return Resident(images, labels)


@pytest.fixture
def net() -> resnet.ResNet:
    with seeds.torch_stream("init", 0):
        return resnet.build((16, 16, 3), 10, depth=8, width=8)


@pytest.fixture
def order() -> torch.Generator:
    return seeds.torch_generator("order", 0)
