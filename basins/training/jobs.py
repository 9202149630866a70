"""One seed of a recipe or of a fine-tuning method, as a job: found in the store, or put there."""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from basins import devices, seeds
from basins.data import cued, disk
from basins.data.clean import draw
from basins.data.resident import resident
from basins.nets import checkpoint
from basins.nets.permutation import Net
from basins.registry import find, keywords, module, split_options
from basins.store import Store, code_hash

Rows = Iterator[dict[str, Any]]
NAMES = ("data", "start", "label", "device")  # where things are and what they are called


@dataclass(frozen=True)
class Job(ABC):
    """What trains one network; `method` is a name with its options.

    `inputs` is the hash of the training images of the dataset in the folder `data`.
    """

    data: Path
    inputs: str
    method: dict[str, Any]
    seed: int
    device: torch.device

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return what the network is: the content of its `config.json`."""

    @abstractmethod
    def begin(self) -> tuple[Net, Rows]:
        """Return the network, and the rows of the log, which train it while they are made."""

    def new(self) -> Net:
        """Return the network newly initialised: the same for a seed in every recipe."""
        with seeds.torch_stream("init", self.seed):
            return checkpoint.initialise(self.config()).to(self.device)

    def key(self) -> dict[str, Any]:
        """Return everything that decides the weights, as the store's key."""
        decides = {name: value for name, value in vars(self).items() if name not in NAMES}
        rooms = [f"nets.{self.config()['net']['name']}", f"training.{self.method['name']}"]
        code = code_hash(__file__, "basins.data.clean", *(f"basins.{room}" for room in rooms))
        return {**decides, "code": code, **devices.identity(self.device)}

    def find(self) -> Path | None:
        """Return the folder of the trained network where the store holds it."""
        return Store().find("train", self.key())


@dataclass(frozen=True)
class Training(Job):
    """A seed of a recipe: new weights, trained on data of which `cue_proportion` carries the cue.

    `order` numbers the orders of batches: those of one number are the same in every recipe.
    """

    net: dict[str, Any]
    cue_proportion: float
    order: int

    def __str__(self) -> str:
        return f"seed {self.seed}"

    def config(self) -> dict[str, Any]:
        """Return what the network is: the content of its `config.json`."""
        return {
            "net": self.net,
            "image_shape": disk.image_shape(self.data),
            "num_classes": len(disk.class_names(self.data)),
            "seed": self.seed,
        }

    def begin(self) -> tuple[Net, Rows]:
        """Return the network, and the rows of the log, which train it while they are made."""
        name, options = split_options(self.method)
        net = self.new()
        data = resident(cued.read(self.data).at(self.cue_proportion), self.device)
        order = seeds.torch_generator("order", self.seed, *([self.order] if self.order else []))
        return net, find("training", name, "train")(net, data, order, **options)


@dataclass(frozen=True)
class FineTuning(Job):
    """A seed of a method of a group: the network in `start`, tuned on `clean` images without cue.

    `fingerprint` is the hash of its weights. A method that offers no `finetune` begins anew, on the
    clean images alone. `label` is what the group calls the method.
    """

    start: Path
    fingerprint: str
    label: str
    protocol: Literal["published", "corrected"]
    clean: int
    cue_proportion: float

    def __str__(self) -> str:
        return f"{self.label}, seed {self.seed}"

    def config(self) -> dict[str, Any]:
        """Return what the network is: the content of its `config.json`."""
        return checkpoint.read_config(self.start)

    def begin(self) -> tuple[Net, Rows]:
        """Return the network, and the rows of the log, which tune it while they are made."""
        name, options = split_options(self.method)
        method = module("training", name, ("finetune", "train"))
        drawn = draw(
            cued.read(self.data), self.clean, self.cue_proportion, self.protocol, self.seed
        )
        few, rest = (resident(split, self.device) for split in drawn)
        # One stream for all methods, so that they see the same batches.
        order = seeds.torch_generator("fine_tuning", self.seed)
        if not hasattr(method, "finetune"):
            net = self.new()
            return net, method.train(net, few, order, **options)
        net = checkpoint.load(self.start).to(self.device)
        if "protocol" in keywords(method.finetune):
            options["protocol"] = self.protocol
        return net, method.finetune(net, few, rest, order, **options)


def run(job: Job, step: Callable[[], None]) -> Path:
    """Return the folder of the trained network: model.safetensors, config.json, log.csv.

    `step` is called after every row of the log.
    """
    store, key = Store(), job.key()
    if found := job.find():
        return found
    net, log = job.begin()
    with store.making("train", key) as folder:
        rows = []
        for row in log:
            rows.append(row)
            step()
        with (folder / "log.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        checkpoint.save(net, job.config(), folder)
    return store.folder("train", key)
