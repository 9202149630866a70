"""An encoder's pretraining and a classifier's fine-tuning, as jobs: in the store, or put there."""

from __future__ import annotations

import csv
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from basins import devices, seeds, weights
from basins.data import text
from basins.nets import checkpoint
from basins.registry import find, split_options
from basins.store import Store, code_hash, copy_item, file_hash
from basins.training.mixed import mixed
from basins.training.rows import tokenised

NAMES = ("data", "encoder", "root", "number", "device")  # where things are, what they are called
WEIGHTS = "model.safetensors"
Step = Callable[[], None]


class Streams(NamedTuple):
    """Numbers of the streams that fine-tuning draws from: the new head, the batches, dropout."""

    head: int
    order: int
    dropout: int


@dataclass(frozen=True)
class Job(ABC):
    """What trains one text network on the dataset in the folder `data`; `inputs` is its hash."""

    data: Path
    inputs: str
    method: dict[str, Any]
    device: torch.device

    @abstractmethod
    def rooms(self) -> list[str]:
        """Return the modules of `basins` whose code decides the result, beside this file's."""

    @abstractmethod
    def make(self, folder: Path, step: Step) -> None:
        """Train the network and fill `folder`; `step` is called after every row of the log."""

    def key(self) -> dict[str, Any]:
        """Return everything that decides the weights, as the store's key."""
        decides = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in NAMES}
        method = f"training.{self.method['name']}"
        rooms = ["nets.bert", "data.text", "data.tokens", "training.rows", method, *self.rooms()]
        code = code_hash(__file__, *(f"basins.{room}" for room in rooms))
        versions = {"transformers": version("transformers"), **devices.identity(self.device)}
        return {**decides, "code": code, **versions}


@dataclass(frozen=True)
class Pretraining(Job):
    """An encoder: a new BERT `net` for a `vocabulary` of the dataset's own sentences.

    `root` is the folder of real data, where a vocabulary may lie.
    """

    net: dict[str, Any]
    vocabulary: dict[str, Any]
    long_rows: Literal["refuse", "truncate"]
    seed: int
    root: Path

    def __str__(self) -> str:
        return f"encoder, seed {self.seed}"

    def key(self) -> dict[str, Any]:
        """Return everything that decides the weights, as the store's key."""
        files = [self.root / str(value) for value in self.vocabulary.values()]
        return {**super().key(), "files": [file_hash(path) for path in files if path.is_file()]}

    def rooms(self) -> list[str]:
        """Return the modules of `basins` whose code decides the result, beside this file's."""
        return [f"data.{self.vocabulary['name']}"]

    def make(self, folder: Path, step: Step) -> None:
        """Fill `folder` with the encoder, its tokenizer and `log.csv`."""
        first, second = restatements(text.read(self.data, "train"))
        name, options = split_options(self.vocabulary)
        tokenizer = find("data", name, "tokenizer")([*first, *second], self.root, **options)
        tokenizer.save_pretrained(folder)
        name, options = split_options(self.net)
        with seeds.torch_stream("init", self.seed):
            net = find("nets", name, "encoder")(len(tokenizer), **options).to(self.device)
        pairs = {"sentence1": first, "sentence2": second}
        net.config.long_rows = self.long_rows
        data = tokenised(pairs, tokenizer, written(net.config), self.device, f"{self.data}, train")
        name, options = split_options(self.method)
        train = find("training", name, "pretrain")
        draws = seeds.torch_generator("pretraining", self.seed)
        log(train(net, data, draws, **options), folder, step)
        checkpoint.save(net, written(net.config), folder)


@dataclass(frozen=True)
class Classifying(Job):
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

    def rooms(self) -> list[str]:
        """Return the modules of `basins` whose code decides the result, beside this file's."""
        return ["data.mixture"]

    def make(self, folder: Path, step: Step) -> None:
        """Fill `folder` with the classifier, its tokenizer, `log.csv` and `step<n>.safetensors`."""
        from basins.nets import bert  # imports transformers, which takes seconds

        config = checkpoint.read_config(self.encoder)
        state = weights.load(self.encoder / WEIGHTS)
        classes = text.class_names(self.data, "train")
        with seeds.torch_stream("head", self.streams.head):
            net: Any = bert.classifier(checkpoint.description(config), state, classes)
        net.to(self.device)
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
            log(tune(net, data, order, keep, **options), folder, step)
        checkpoint.tokenizer(self.encoder).save_pretrained(folder)
        checkpoint.save(net, {**written(net.config), "streams": self.streams._asdict()}, folder)


def run(job: Job, step: Step) -> Path:
    """Return the folder that a job makes, from the store where it holds it."""
    store, key = Store(), job.key()
    if found := store.find("text", key):
        return found
    with store.making("text", key) as folder:
        job.make(folder, step)
    return store.folder("text", key)


def lay_out(item: Path, recipe: Path, number: int) -> None:
    """Copy a classifier to `recipe`/seed<k>, and as it was early to `recipe`/step<n>/seed<k>."""
    final = recipe / f"seed{number}"
    copy_item(item, final)
    for early in sorted(final.glob("step*.safetensors")):
        folder = recipe / early.stem / final.name
        folder.mkdir(parents=True)
        for path in final.iterdir():
            if path.suffix == ".json":
                shutil.copyfile(path, folder / path.name)
        early.rename(folder / WEIGHTS)


def restatements(columns: text.Columns) -> tuple[list[str], list[str]]:
    """Return sentences beside others that say the same: a pair's two where pairs have no labels.

    With labels they may differ in meaning: each different sentence is paired with itself.
    """
    sentences = [columns[name] for name in text.fields(columns)]
    if len(sentences) == 2 and "label" not in columns:
        return sentences[0], sentences[1]
    different = list(dict.fromkeys(sentence for column in sentences for sentence in column))
    return different, different


def written(config: Any) -> dict[str, Any]:
    """Return a Hugging Face config as it is written to `config.json`."""
    return json.loads(config.to_json_string())


def log(rows: Iterator[dict[str, Any]], folder: Path, step: Step) -> None:
    """Write the rows to `log.csv` in `folder` as they come."""
    with (folder / "log.csv").open("w", newline="") as file:
        writer = None
        for row in rows:
            writer = writer or csv.DictWriter(file, row, lineterminator="\n")
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)
            step()
