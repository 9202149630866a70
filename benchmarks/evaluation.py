"""All-pairs evaluation, compared with the loop of Mechanistic Mode Connectivity's code (section 4).

The loop is rewritten in plain PyTorch: each pair on its own, and for each counterfactual set and
point a new network, a pass in training mode over all calibration images, then the set. Unlike the
original, it draws cues once and keeps the loader's processes. Calibration and evaluation images are
5 to 1, like CIFAR-10's 50,000 and 10,000, so that the ratio of FLOPs is the paper's. With so few
images the wait for a loader's first batch shows; a second loop with its data in memory has none.
The start of processes counts on neither side.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import chdir
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import Compose, Normalize, ToTensor

from basins import seeds
from basins.data.resident import Resident, normalise
from basins.errors import UserError
from basins.item import runner
from basins.landscape.barriers import barrier_linear
from basins.nets import checkpoint
from basins.nets.control import Control
from basins.nets.permutation import Net
from basins.paths import linear, points
from basins.paths.engine import Engine
from basins.paths.pairs import grid
from basins.paths.plan import Curve
from basins.probes.counterfactual import SETS
from basins.weights import flatten
from benchmarks.fixtures import CORES, CPU, NET, Data, dataset, models, pairs, start_workers
from benchmarks.harness import Row, ratio, rounds, threads

SIDE, NETWORKS, POINTS = 16, 8, 11
CALIBRATION, EVALUATION = 640, 128  # images in all, and in each of the four sets
BATCH = 128  # the paper's
TIMED = 2  # pairs that the loops run; their time is scaled to all, as pairs cost the same
TRANSFORM = Compose([ToTensor(), Normalize((0.5,) * 3, (0.5,) * 3)])  # the paper's
TOLERANCE = 1e-5  # nats, between mean losses
# For the barriers: enough for a moving average to forget its start, and the paper's 5,000.
MANY, ENOUGH, SHUFFLES = 60 * BATCH, 39 * BATCH, 5

Batches = Iterable[tuple[Tensor, Tensor]]
Pair = tuple[Control, Control]


def measure(repetitions: int) -> Iterator[Row]:
    """Yield the speed-ups for all pairs, after checking that the results agree."""
    with tempfile.TemporaryDirectory() as folder:
        data = dataset(Path(folder), MANY, EVALUATION, SIDE)
        joined = pairs(models(Path(folder), data, NETWORKS))
        calibration, sets = data.calibration(CALIBRATION).load(CPU), data.sets()
        loops = [
            partial(
                published,
                joined[:TIMED],
                batches(calibration),
                {name: batches(images) for name, images in sets.items()},
            )
            for batches in (loader, in_memory)
        ]
        same = partial(ours, data, joined, "moving", CALIBRATION)
        tenth = partial(ours, data, joined, "reset", CALIBRATION // 10)
        differences = [loss_difference(same(), loop()) for loop in loops]
        away, spread = barriers_apart(data, joined[0])
        times = rounds([*loops, same, tenth, start_workers], repetitions)

    loop, tuned = times[:2] * len(joined) / TIMED
    same_losses, same_barriers = times[2:4] - times[4]
    distinct_points = len(joined) * (POINTS - 2) + NETWORKS
    work = len(joined) * POINTS * len(sets) * (CALIBRATION + EVALUATION)
    exact, short = (
        work / (distinct_points * (images + len(sets) * EVALUATION))
        for images in (CALIBRATION, CALIBRATION // 10)
    )
    sizes = {
        "net": NET,
        "side": SIDE,
        "networks": NETWORKS,
        "pairs": len(joined),
        "pairs_timed_in_loop": TIMED,
        "points": POINTS,
        "calibration_images": CALIBRATION,
        "evaluation_images": EVALUATION,
        "workers": CORES,
        "start_seconds": times[4].tolist(),
    }
    yield ratio(
        "all pairs against the published loop, same losses",
        loop,
        same_losses,
        must=6,
        aim=10,
        flops=exact,
        loss_difference=differences[0],
        **sizes,
    )
    yield ratio(
        "all pairs, statistics of a tenth, against the published loop",
        loop,
        same_barriers,
        must=12,
        aim=25,
        flops=short,
        barrier_difference=away.tolist(),
        barrier_spread_of_loop=spread.tolist(),
        **sizes,
    )
    yield ratio(
        "all pairs against the loop with its data in memory, same losses",
        tuned,
        same_losses,
        must=3,
        aim=4,
        flops=exact,
        loss_difference=differences[1],
        **sizes,
    )


def ours(
    data: Data, joined: Sequence[Pair], mode: str, calibration: int, workers: int = CORES
) -> list[points.Losses]:
    """Evaluate pairs as the stage `connect` does, from files to losses, with an empty store."""
    along = tuple(linear.coefficients(t) for t in grid(POINTS))
    curves = [Curve(pair, along) for pair in joined]
    sets = points.Sets(
        data=data.path,
        fingerprint=data.fingerprint,
        names=SETS,
        calibration=data.calibration(calibration),
        batchnorm=(mode,),
        precision="fp32",
        device=CPU,
    )
    pieces = points.plan(curves, sets)
    with tempfile.TemporaryDirectory() as folder, chdir(folder), threads(1):
        files = runner(workers)(pieces, title="pairs")
        places = points.places(pieces, files)
        return [points.load(curve, places) for curve in curves]


def published(
    joined: Sequence[Pair], calibration: Batches, sets: Mapping[str, Batches]
) -> np.ndarray:
    """Return mean losses [pairs, sets, points] of the published loop, on all cores."""
    found = np.empty((len(joined), len(sets), POINTS))
    with threads(CORES), torch.no_grad():
        for pair, (a, b) in enumerate(joined):
            start, end = checkpoint.load(a.model), checkpoint.load(b.model)
            config = checkpoint.read_config(a.model)
            for row, batches in enumerate(sets.values()):
                for column, t in enumerate(grid(POINTS)):
                    net = between(start, end, t, config).train()
                    for images, _ in calibration:
                        net(images)
                    net.eval()
                    losses = [functional.cross_entropy(net(x), y).item() for x, y in batches]
                    found[pair, row, column] = np.mean(losses)
    return found


def between(start: Net, end: Net, t: float, config: dict[str, Any]) -> Net:
    """Return a new network with the weights and statistics at `t` between `start` and `end`."""
    net, moved = checkpoint.initialise(config), end.state_dict()
    mixed = {
        name: (1 - t) * value + t * moved[name] if value.is_floating_point() else value
        for name, value in start.state_dict().items()
    }
    net.load_state_dict(mixed)
    return net


class Items(Dataset[tuple[Any, int]]):
    """Images that are transformed one by one, as torchvision's datasets do."""

    def __init__(self, data: Resident, transform: Callable[[Any], Any] = TRANSFORM) -> None:
        self.images, self.labels = data.images.numpy(), data.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def loader(data: Resident) -> Batches:
    """Return a loader in the data's order, with one process per core."""
    return DataLoader(Items(data), BATCH, num_workers=CORES, persistent_workers=True)


def in_memory(data: Resident) -> Batches:
    """Return all batches, prepared in advance."""
    images = normalise(data.images).contiguous()
    return list(zip(images.split(BATCH), data.labels.split(BATCH), strict=True))


def loss_difference(found: Sequence[points.Losses], means: np.ndarray) -> float:
    """Return the largest difference of mean losses, nats; raise `UserError` above `TOLERANCE`."""
    our_means = [
        [[e.losses.mean() for e in losses.curves["moving", name]] for name in SETS]
        for losses in found[: len(means)]
    ]
    difference = float(np.abs(our_means - means).max())
    if not difference <= TOLERANCE:
        raise UserError(f"evaluation: mean losses differ from the loop's by {difference} nats")
    return difference


def barriers_apart(data: Data, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance of `reset` barriers from the loop's, and the spread of the loop's.

    Both are [sets], in nats: the distance to the mean of the loop's runs, and their range. The loop
    shuffles its calibration images in each run; `moving` is its pass. Raises `UserError` if a
    distance is larger than the range.
    """
    ts, sets, images = grid(3), data.sets(), data.calibration(MANY).load(CPU)
    points = [linear.coefficients(t) for t in ts]
    controls = [flatten(checkpoint.load(control.model).state_dict()) for control in pair]
    engine = Engine(checkpoint.load(pair[0].model))

    def barriers(mode: str, calibration: Resident) -> np.ndarray:
        curves = engine.along(controls, points, {mode: calibration}, sets)
        return barrier_linear(ts, [[e.losses.mean() for e in curves[mode, n]] for n in SETS])

    stream = seeds.torch_generator("order", "benchmarks")
    with threads(1):
        runs = []
        for order in (torch.randperm(MANY, generator=stream) for _ in range(SHUFFLES)):
            runs.append(barriers("moving", Resident(*(tensor[order] for tensor in images))))
        reset = barriers("reset", data.calibration(ENOUGH).load(CPU))
    away, spread = np.abs(reset - np.mean(runs, axis=0)), np.ptp(runs, axis=0)
    if not (away <= spread).all():
        raise UserError(
            f"evaluation: barriers with `reset` are {away} nats from the published loop's, "
            f"whose own runs spread over {spread}"
        )
    return away, spread
