"""Fixtures of the benchmarks: a dataset of silhouettes, and small networks trained on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import chdir
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import torch

from basins import parallel
from basins.data import cued, disk, shapes
from basins.data.calibration import Calibration
from basins.data.cues.box import Box
from basins.data.resident import Resident, resident
from basins.item import runner
from basins.nets import checkpoint
from basins.nets.control import Control
from basins.probes import counterfactual
from basins.store import folder_hash
from basins.training.image_models import Training

CPU = torch.device("cpu")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
NET = {"name": "resnet", "depth": 8, "width": 16}
RECIPE = {"epochs": 1, "batch_size": 32, "lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4}
RECIPE |= {"schedule": "one_cycle"}


class Data(NamedTuple):
    """A dataset with its counterfactual sets, in the folder `path`."""

    path: Path
    fingerprint: str

    def calibration(self, size: int) -> Calibration:
        """Return `size` training images without the cue, to estimate statistics on."""
        return Calibration(self.path, 0.0, size)

    def sets(self) -> dict[str, Resident]:
        """Return the counterfactual sets."""
        return {name: resident(disk.read(self.path, name), CPU) for name in counterfactual.SETS}

    def seeds(self, count: int, proportions: Sequence[float] = (0.0,)) -> list[Training]:
        """Return the training of `count` seeds, whose cue proportions alternate."""
        return [
            Training(
                data=self.path,
                inputs=cued.fingerprint(self.path),
                method={"name": "scratch", **RECIPE},
                seed=seed,
                device=CPU,
                net=NET,
                cue_proportion=proportions[seed % len(proportions)],
                order=0,
            )
            for seed in range(count)
        ]


def dataset(folder: Path, train: int, test: int, side: int) -> Data:
    """Generate a dataset of `train` images, and `test` in each set, in `folder`."""
    made = shapes.load(source="synthetic", root=folder, seed=0, train=train, test=test, size=side)
    classes = len(made.classes)
    both = cued.draw(made.train, classes, Box())
    splits = {"train": both.plain, "train_c": both.cued}
    splits |= counterfactual.sets(made.test, classes, Box(), 0)
    disk.save(folder / "data", splits, made.classes)
    return Data(folder / "data", folder_hash(folder / "data"))


def models(folder: Path, data: Data, count: int) -> tuple[Control, ...]:
    """Train networks, alternately without and with the cue, in the store of `folder`."""
    with chdir(folder):
        pending = data.seeds(count, proportions=(0.0, 0.6))
        found = runner(CORES)(pending, title="models")
    trained = [folder / path for path in found]
    return tuple(Control(model, checkpoint.fingerprint(model)) for model in trained)


def pairs(controls: Sequence[Control]) -> list[tuple[Control, Control]]:
    """Return all pairs, beginning with pairs that share no network."""
    apart = list(zip(controls[::2], controls[1::2], strict=False))
    return apart + [pair for pair in combinations(controls, 2) if pair not in apart]


def start_workers(count: int = CORES) -> None:
    """Start worker processes, and let them import what their work needs.

    Its time is subtracted from that of every run with workers, since the baselines run in a process
    that has already started.
    """
    parallel.run(idle, range(count), workers=count, title="start")


def idle(item: int, step: Callable[[], None]) -> None:
    """Do nothing, in a worker that has imported this module."""
