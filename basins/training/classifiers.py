"""Classifiers fine-tuned from one encoder, as items of the store."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basins import seeds, weights
from basins.data import text
from basins.item import Step
from basins.nets import checkpoint
from basins.registry import find, option, split_options
from basins.store import copy_item
from basins.training import log
from basins.training.mixed import mixed
from basins.training.starts import Streams, started
from basins.training.text_models import TextModel, written

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Classifying(TextModel):
    """A model of a recipe: the encoder in `encoder` with a new head, tuned on a mixture of rows.

    `fingerprint` is the hash of the encoder's folder. `counterexamples` and `noise` are the shares
    of the mixture, drawn with the seed `mixture`. `number` is the model's.
    """

    encoder: Path
    fingerprint: str
    counterexamples: float
    noise: float
    mixture: int
    streams: Streams
    number: int

    def __str__(self) -> str:
        return f"seed {self.number}"

    def decides(self) -> dict[str, Any]:
        """Return everything that determines the weights, except code and machine."""
        net = checkpoint.family(checkpoint.read_config(self.encoder))
        return {**super().decides(), "net": {"name": net}}

    def steps(self) -> int:
        """Return the number of epochs."""
        return option(find("training", self.method["name"], "tune"), self.method, "epochs")

    def make(self, folder: Path, step: Step) -> None:
        """Fill `folder` with the classifier, its tokenizer, `log.csv` and `step<n>.safetensors`."""
        classes = text.class_names(self.data, "train")
        net: Any = started(self.encoder, classes, self.streams).to(self.device)
        data = mixed(
            self.data,
            self.inputs,
            self.encoder,
            self.fingerprint,
            self.counterexamples,
            self.noise,
            self.mixture,
            self.device,
        )
        order = seeds.torch_generator("order", self.streams.order)

        def keep(taken: int) -> None:
            weights.save(net.state_dict(), folder / f"step{taken}.safetensors")

        name, options = split_options(self.method)
        tune = find("training", name, "tune")
        with seeds.torch_stream("dropout", self.streams.dropout):
            log.write(tune(net, data, order, keep, **options), folder, step)
        checkpoint.tokenizer(self.encoder).save_pretrained(folder)
        checkpoint.save(net, {**written(net.config), "streams": self.streams._asdict()}, folder)


def lay_out(item: Path, place: Path) -> None:
    """Copy a classifier to `<recipe>/seed<k>`, early checkpoints to `<recipe>/step<n>/seed<k>`."""
    copy_item(item, place)
    for early in sorted(place.glob("step*.safetensors")):
        folder = place.parent / early.stem / place.name
        folder.mkdir(parents=True)
        for path in place.iterdir():
            if path.suffix == ".json":
                shutil.copyfile(path, folder / path.name)
        early.rename(folder / WEIGHTS)
