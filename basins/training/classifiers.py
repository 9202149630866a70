"""Classifiers that are fine-tuned from one encoder, as items of the store."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from basins import seeds, weights
from basins.data import text
from basins.errors import UserError
from basins.item import Step
from basins.nets import checkpoint
from basins.nets.permutation import Net
from basins.registry import find, option, split_options
from basins.store import copy_item
from basins.training import log
from basins.training.mixed import mixed
from basins.training.text_models import TextModel, written

WEIGHTS = "model.safetensors"
POOLER = "pooler."  # in the names of its weights


class Streams(NamedTuple):
    """Numbers of the streams that fine-tuning draws from: the new head, the batches, dropout.

    A head between two whole numbers lies on the straight line between theirs. `pooler` is the
    number of the head with which a new pooler is drawn; None leaves the encoder's, or, where that
    has none, the head's.
    """

    head: float
    order: int
    dropout: int
    pooler: float | None = None


@dataclass(frozen=True)
class Classifying(TextModel):
    """A model of a recipe: the encoder in `encoder` with a new head, tuned on a mixture of rows.

    `fingerprint` is the hash of the encoder's folder. `counterexamples` and `noise` are the
    mixture's, drawn by the number `mixture`. `number` is the model's.
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
        """Return all that decides the weights but for code and machine."""
        net = checkpoint.family(checkpoint.read_config(self.encoder))
        return {**super().decides(), "net": {"name": net}}

    def steps(self) -> int:
        """Return the number of epochs."""
        return option(find("training", self.method["name"], "tune"), self.method, "epochs")

    def make(self, folder: Path, step: Step) -> None:
        """Fill `folder` with the classifier, its tokenizer, `log.csv` and `step<n>.safetensors`."""
        from basins.nets import bert  # imports transformers, which takes seconds

        config = checkpoint.read_config(self.encoder)
        state = weights.load(self.encoder / WEIGHTS)
        classes = text.class_names(self.data, "train")

        def build() -> Any:
            return bert.classifier(checkpoint.description(config), state, classes)

        net: Any = started(build, self.streams).to(self.device)
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
            if self.device.type == "cuda":
                torch.cuda.manual_seed(seeds.derive("dropout", self.streams.dropout))
            log.write(tune(net, data, order, keep, **options), folder, step)
        checkpoint.tokenizer(self.encoder).save_pretrained(folder)
        checkpoint.save(net, {**written(net.config), "streams": self.streams._asdict()}, folder)


def started(build: Callable[[], Net], streams: Streams) -> Net:
    """Return the classifier that training starts from.

    `build()` has the encoder's weights, and draws from torch's generator what that lacks. Raises
    `UserError` for the pooler of a network that has none.
    """
    net: Any = between(build, streams.head)
    if streams.pooler is not None:
        new = between(lambda: checkpoint.initialise(written(net.config)), streams.pooler)
        pooler = {name: w for name, w in new.state_dict().items() if POOLER in name}
        if not pooler:
            raise UserError("seeds: the network has no pooler; leave out that stream")
        net.load_state_dict({**net.state_dict(), **pooler})
    return net


def between(build: Callable[[], Net], number: float) -> Net:
    """Return what is built with the head `number`, or on the line between the heads beside it."""

    def drawn(head: int) -> Net:
        with seeds.torch_stream("head", head):
            return build()

    net, share = drawn(int(number)), number % 1
    if share:
        other = drawn(int(number) + 1).state_dict()
        with torch.no_grad():
            for name, weight in net.named_parameters():
                weight.lerp_(other[name], share)
    return net


def lay_out(item: Path, place: Path) -> None:
    """Copy a classifier to `<recipe>/seed<k>`; as it was early, to `<recipe>/step<n>/seed<k>`."""
    copy_item(item, place)
    for early in sorted(place.glob("step*.safetensors")):
        folder = place.parent / early.stem / place.name
        folder.mkdir(parents=True)
        for path in place.iterdir():
            if path.suffix == ".json":
                shutil.copyfile(path, folder / path.name)
        early.rename(folder / WEIGHTS)
