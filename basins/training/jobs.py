"""One trained seed as a job: found in the store, or made and put there."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from basins import devices, seeds
from basins.data import disk
from basins.data.cued import with_cue
from basins.data.resident import resident
from basins.nets import checkpoint
from basins.registry import find, split_options
from basins.store import Store, code_hash


@dataclass(frozen=True)
class Job:
    """One seed of a recipe; `net`, `method` and `cue` are a name with its options.

    `data_hash` is that of the training split of the dataset in the folder `data`.
    """

    data: Path
    data_hash: str
    net: dict[str, Any]
    method: dict[str, Any]
    cue: dict[str, Any]
    cue_proportion: float
    seed: int
    device: torch.device

    def __str__(self) -> str:
        return f"seed {self.seed}"

    def key(self) -> dict[str, Any]:
        """Return everything that decides the weights, as the store's key."""
        code = code_hash(
            __file__,
            "basins.data.cued",
            f"basins.data.cues.{self.cue['name']}",
            f"basins.nets.{self.net['name']}",
            f"basins.training.{self.method['name']}",
        )
        return {
            "data": self.data_hash,
            "net": self.net,
            "method": self.method,
            "cue": self.cue,
            "cue_proportion": self.cue_proportion,
            "seed": self.seed,
            "code": code,
            **devices.identity(self.device),
        }

    def find(self) -> Path | None:
        """Return the folder of the trained seed where the store holds it."""
        return Store().find("train", self.key())


def run(job: Job, step: Callable[[], None]) -> Path:
    """Return the folder of the trained seed: model.safetensors, config.json, log.csv.

    `step` is called after every row of the log.
    """
    store, key = Store(), job.key()
    if found := job.find():
        return found
    classes = disk.class_names(job.data)
    split = with_cue(disk.read(job.data, "train"), len(classes), job.cue, job.cue_proportion)
    config = {
        "net": job.net,
        "image_shape": split.images.shape[1:],
        "num_classes": len(classes),
        "seed": job.seed,
    }
    with seeds.torch_stream("init", job.seed):
        net = checkpoint.initialise(config).to(job.device)
    name, options = split_options(job.method)
    train = find("training", name, "train")
    order = seeds.torch_generator("order", job.seed)
    with store.making("train", key) as folder:
        rows = []
        for row in train(net, resident(split, job.device), order, **options):
            rows.append(row)
            step()
        with (folder / "log.csv").open("w", newline="") as file:
            log = csv.DictWriter(file, rows[0], lineterminator="\n")
            log.writeheader()
            log.writerows(rows)
        checkpoint.save(net, config, folder)
    return store.folder("train", key)
