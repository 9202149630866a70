"""Networks trained on images, from scratch or from another network, as items of the store."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from basins import seeds
from basins.data import cued, disk
from basins.data.calibration import Procedure
from basins.data.clean import draw
from basins.data.resident import resident
from basins.item import Item, Step
from basins.nets import checkpoint
from basins.nets.permutation import Net
from basins.registry import find, keywords, module, option, split_options
from basins.training import log

Rows = Iterator[dict[str, Any]]
PLACES = ("data", "start", "label", "device")  # locations and names


@dataclass(frozen=True)
class ImageModel(Item):
    """A network trained on images; `method` is a name with its options.

    `inputs` is the hash of the training images of the dataset in the folder `data`. Its folder has
    model.safetensors, config.json and log.csv.
    """

    data: Path
    inputs: str
    method: dict[str, Any]
    seed: int
    device: torch.device
    kind: ClassVar[str] = "train"

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return what the network is: the content of its `config.json`."""

    @abstractmethod
    def begin(self) -> tuple[Net, Rows]:
        """Return the network, and the rows of the log, which train it while they are made."""

    def new(self) -> Net:
        """Return the newly initialised network, which is the same for a seed in every recipe."""
        with seeds.torch_stream("init", self.seed):
            return checkpoint.initialise(self.config()).to(self.device)

    def decides(self) -> dict[str, Any]:
        """Return everything that determines the weights, except code and machine."""
        mine = {name: value for name, value in vars(self).items() if name not in PLACES}
        return {"net": self.config()["net"], **mine}

    def steps(self) -> int:
        """Return the number of epochs."""
        method = find("training", self.method["name"], ("finetune", "train"))
        return option(method, self.method, "epochs")

    def make(self, folder: Path, step: Step) -> None:
        """Train the network and fill `folder`; `step` is called for each row of the log."""
        net, rows = self.begin()
        log.write(rows, folder, step)
        checkpoint.save(net, self.config(), folder)


@dataclass(frozen=True)
class Training(ImageModel):
    """A seed of a recipe: new weights, trained on images with a share `cue_proportion` of cues.

    `order` is the seed of the order of batches, which is the same in every recipe.
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
class FineTuning(ImageModel):
    """A seed of a method of a group: the network in `start`, fine-tuned with `clean` images.

    `clean` is the number of images without cue, and `fingerprint` the hash of the start's weights.
    A method without `finetune` trains a new network on the clean images alone. `label` is the
    group's name for the method.
    """

    start: Path
    fingerprint: str
    label: str
    protocol: Procedure
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
