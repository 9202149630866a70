"""Other arithmetic, of a GPU or of more threads, moves losses by no more than is promised."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from basins import devices
from basins.data.resident import resident
from basins.landscape.barriers import barrier_linear
from basins.nets.permutation import Net
from basins.paths import linear
from basins.paths.engine import Engine
from basins.paths.pairs import grid
from basins.weights import flatten
from tests.paths.conftest import CPU, trained

LOSS, BARRIER = 1e-3, 1e-4  # nats: of an example, and of a mean over examples (docs/reliability.md)
TS = grid(7)
MODES = ("interpolate", "reset")


@contextmanager
def elsewhere(where: str) -> Iterator[torch.device]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2 if where == "two threads" else threads)
    if where == "cuda":
        devices.prepare()
    try:
        yield torch.device("cuda") if where == "cuda" else CPU
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def nets(data) -> list[Net]:
    return [trained("resnet", seed, data) for seed in (0, 1)]


def losses(nets, data, device: torch.device) -> dict[tuple[str, str], np.ndarray]:
    """Return losses [T, n] on the straight path between two networks, evaluated on a device."""
    moved = [copy.deepcopy(net).to(device) for net in nets]
    controls = [flatten(net.state_dict()) for net in moved]
    found = Engine(moved[0]).along(
        controls,
        [tuple(linear.coefficients(t)) for t in TS],
        {"interpolate": None, "reset": resident(data.train, device)},
        {"test": resident(data.test, device)},
    )
    return {key: np.stack([e.losses for e in points]) for key, points in found.items()}


@pytest.mark.parametrize(
    "where",
    [
        "two threads",
        pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="GPU")),
    ],
)
def test_losses_and_barriers_are_those_of_one_thread(where, nets, data):
    here = losses(nets, data, CPU)
    with elsewhere(where) as device:
        there = losses(nets, data, device)
    for mode in MODES:
        one, other = here[mode, "test"], there[mode, "test"]
        assert np.abs(one - other).max() < LOSS
        barriers = [barrier_linear(TS, curve.mean(1, dtype=np.float64)) for curve in (one, other)]
        assert abs(barriers[0] - barriers[1]) < BARRIER
        assert barriers[0] > 100 * BARRIER  # there is something to move
