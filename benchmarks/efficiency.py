"""The share of the machine's peak rate that evaluation reaches, and the shares of overheads.

One process with one thread, like a worker. The share of the peak counts the FLOPs of convolutions
and linear layers alone, including calibration, over the engine's whole time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from basins import devices, seeds
from basins.data.resident import Resident
from basins.nets import resnet, vgg
from basins.nets.permutation import Net
from basins.paths.engine import Engine
from basins.paths.evaluation import Examples
from basins.probes.counterfactual import SETS
from basins.weights import flatten
from benchmarks.evaluation import ours
from benchmarks.fixtures import dataset, models, pairs
from benchmarks.harness import Row, interleaved, quantity, seconds, threads
from benchmarks.peak import operations, peak_rate

SIDE = 32
MIDDLE = [(0.5, 0.5)]


def measure(repetitions: int) -> Iterator[Row]:
    """Yield the shares of the peak rate, then those of bookkeeping and of waiting."""
    devices.prepare()
    wide = vgg.build((SIDE, SIDE, 3), 10)
    narrow = resnet.build((SIDE, SIDE, 3), 10, depth=8, width=16)
    yield share_of_peak("VGG-13", wide, 128, repetitions, must=60, aim=75)
    yield share_of_peak("ResNet-8, width 16", narrow, 512, repetitions, must=35, aim=50)
    yield bookkeeping(narrow, 512, repetitions)
    yield waiting(repetitions)


def share_of_peak(
    name: str, net: Net, images: int, repetitions: int, *, must: float, aim: float
) -> Row:
    """Return the rate at which the engine evaluates a point, in % of the peak rate."""
    point = Point(net, images)
    flops = operations(net, torch.zeros(1, 3, SIDE, SIDE)) * 5 * images
    before = peak_rate(1, torch.float32)
    with threads(1):
        point.evaluate()
        taken = np.array([seconds(point.evaluate) for _ in range(repetitions)])
    after = peak_rate(1, torch.float32)
    return quantity(
        f"{name}: share of the highest rate, one thread",
        "%",
        100 * flops / taken / max(before, after),
        must=must,
        aim=aim,
        images=5 * images,
        side=SIDE,
        dtype="float32",
        gflops_highest=[before / 1e9, after / 1e9],
        steady=abs(before - after) < 0.05 * max(before, after),
        our_seconds=taken.tolist(),
    )


def bookkeeping(net: Net, images: int, repetitions: int) -> Row:
    """Return the part of a point's time that does not depend on images, in %.

    It is the time of a point with two images in every set, a slight overestimate.
    """
    empty, full = Point(net, 2), Point(net, images)
    with threads(1):
        least, taken = interleaved(empty.evaluate, full.evaluate, repetitions)
    return quantity(
        "interpolation and bookkeeping: share of a point's time",
        "%",
        100 * least / taken,
        must=3,
        aim=1,
        at_most=True,
        net="ResNet-8, width 16",
        images=5 * images,
        side=SIDE,
        seconds_without_images=least.tolist(),
        our_seconds=taken.tolist(),
    )


def waiting(repetitions: int) -> Row:
    """Return the share of time that a process evaluating pairs from files is blocked, in %."""
    shares, walls = [], []
    with tempfile.TemporaryDirectory() as folder:
        data = dataset(Path(folder), 1280, 500, SIDE)
        joined = pairs(models(Path(folder), data, 2))
        run = partial(ours, data, joined, "reset", 512, workers=1)
        for _ in range(1 + repetitions):
            before = busy()
            wall = seconds(run)
            shares.append(100 * (1 - (busy() - before) / wall))
            walls.append(wall)
    return quantity(
        "waiting for data: share of a process's time",
        "%",
        np.array(shares[1:]),
        must=1,
        aim=0,
        at_most=True,
        our_seconds=walls[1:],
    )


def busy() -> float:
    """Return the seconds that this thread has run or waited for a busy core (Linux)."""
    ran, queued, _ = Path("/proc/thread-self/schedstat").read_text().split()
    return (int(ran) + int(queued)) / 1e9


class Point:
    """A network's midpoint with itself, evaluated after calibration on four sets, all of noise."""

    def __init__(self, net: Net, images: int) -> None:
        self.engine = Engine(net)
        self.controls = [flatten(net.state_dict())] * 2
        stream = seeds.torch_generator("order", "benchmarks")
        shape = (5, images, SIDE, SIDE, 3)
        noise = torch.randint(256, shape, generator=stream, dtype=torch.uint8)
        labels = torch.randint(10, shape[:2], generator=stream)
        self.calibration, *others = map(Resident, noise, labels)
        self.sets: dict[str, Examples] = dict(zip(SETS, others, strict=True))

    def evaluate(self) -> None:
        """Evaluate the point once."""
        self.engine.along(self.controls, MIDDLE, {"reset": self.calibration}, self.sets)
