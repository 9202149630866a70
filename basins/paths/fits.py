"""The trained inner control points of paths, as items of the store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from basins import seeds
from basins.data import cued, disk
from basins.data.calibration import Procedure
from basins.data.cued import Cued
from basins.item import Item, Step
from basins.nets import checkpoint
from basins.nets.control import Control, Pair
from basins.paths.fitting import Mixture
from basins.paths.points import vector
from basins.registry import find, option, split_options
from basins.training import log
from basins.training.mixed import inputs, mixed
from basins.training.rows import Rows


@dataclass(frozen=True)
class Fit(Item):
    """One curve whose inner control point is to be fitted; `path` is its name with its options.

    `curve` is its name for display, `ends` are its aligned ends, and `inputs` is the hash of the
    training data of the dataset in the folder `data`: images with and without cue, or text.
    """

    curve: str
    path: dict[str, Any]
    ends: Pair
    data: Path
    inputs: str
    protocol: Procedure
    device: torch.device
    kind: ClassVar[str] = "fits"

    def __str__(self) -> str:
        return self.curve

    def decides(self) -> dict[str, Any]:
        """Return everything that determines the fitted weights, except code and machine."""
        return {
            "ends": [end.identity() for end in self.ends],
            "net": self.ends[0].net(),
            "path": self.path,
            "data": self.inputs,
            "protocol": self.protocol,
        }

    def make(self, folder: Path, step: Step) -> None:
        """Fill `folder` with the fitted network: model.safetensors, config.json and log.csv.

        Random draws are the same for all paths and alignments of two models. `step` is called after
        every row of the log.
        """
        name, options = split_options(self.path)
        config = checkpoint.description(checkpoint.read_config(self.ends[0].model))
        models = [end.fingerprint for end in self.ends]
        with seeds.torch_stream("midpoint", *models):
            net = checkpoint.initialise(config).to(self.device)
        ends = [vector(end, net).to(self.device) for end in self.ends]
        order, data = seeds.torch_generator("path", *models), self.training_data()
        fit = find("paths", name, "fit")
        with seeds.torch_stream("dropout", *models):
            log.write(fit(net, ends, data, order, protocol=self.protocol, **options), folder, step)
        checkpoint.save(net, config, folder)
        if not isinstance(data, Cued):  # completes the folder of a text classifier
            checkpoint.tokenizer(self.ends[0].model).save_pretrained(folder)

    def steps(self) -> int:
        """Return the number of epochs."""
        return option(find("paths", self.path["name"], "fit"), self.path, "epochs")

    def result(self, folder: Path) -> Control:
        """Return the fitted control point."""
        return Control.of(folder)._replace(bend=True)

    def training_data(self) -> Cued | Mixture:
        """Return the images with and without cue, or the function that mixes the rows of a text."""
        if disk.is_image(self.data):
            return cued.read(self.data)
        model = self.ends[0]

        def rows(counterexamples: float, noise: float, seed: int) -> Rows:
            given = (self.data, self.inputs, model.model, model.fingerprint)
            return mixed(*given, counterexamples, noise, seed, self.device)

        return rows


def fingerprint(data: Path) -> str:
    """Return the hash of the training data of the dataset in the folder `data`."""
    return (
        cued.fingerprint(data) if disk.is_image(data) else inputs(data, "train", "counterexamples")
    )
