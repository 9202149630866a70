"""The tests of an aspect of the SoK, each as its own item of the store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor

from basins import results, seeds, weights
from basins.data.calibration import Calibration
from basins.item import Item, Step
from basins.landscape.terrain import Terrain, few
from basins.nets import checkpoint
from basins.nets.control import Control
from basins.nets.inputs import inputs
from basins.paths.engine import Engine
from basins.paths.evaluation import Examples
from basins.registry import find, module, split_options
from basins.store import folder_hash
from basins.training.sample import Sample
from basins.training.starts import Streams, started

COLUMNS = ("aspect", "test", "quantity", "group", "x", "models", "null", "value")


@dataclass(frozen=True, eq=False)
class Measurement(Item):
    """An aspect, or one `test` of it, of trained models; `aspect` is its name with its options.

    `sets` are of the dataset in the folder `data`, whose hash is `fingerprint`, with at most `rows`
    examples each; `train` says which training rows are used. `origins` are what each model was
    fine-tuned from, or None if trained from scratch; `early` has earlier models by step.
    """

    aspect: Mapping[str, Any]
    test: str | None
    models: tuple[Control, ...]
    origins: tuple[Path | None, ...]
    early: Mapping[int, tuple[Control, ...]]
    data: Path
    fingerprint: str
    sets: tuple[str, ...]
    rows: int
    train: Sample
    batchnorm: str
    calibration: Calibration | None
    tables: Mapping[str, pd.DataFrame]
    device: torch.device
    kind: ClassVar[str] = "aspect"

    def __str__(self) -> str:
        return self.test or self.aspect["name"]

    def decides(self) -> dict[str, Any]:
        """Return everything that determines the rows, except code and machine."""
        texts = {name: table.to_csv(index=False) for name, table in self.tables.items()}
        return {
            "aspect": self.aspect,
            "test": self.test,
            "models": [[str(model), *model.identity()] for model in self.models],
            "net": self.models[0].net(),
            "origins": [_hash(origin) for origin in self.origins],
            "early": {step: [m.identity() for m in models] for step, models in self.early.items()},
            "data": [self.fingerprint, *self.sets, self.rows],
            "train": self.train[1:],
            "batchnorm": [self.batchnorm, self.calibration and self.calibration[1:]],
            "tables": {name: sha256(text.encode()).hexdigest() for name, text in texts.items()},
        }

    def make(self, folder: Path, step: Step) -> None:
        """Write `rows.csv`, the rows of the aspect."""
        name, options = split_options(self.aspect)
        options |= {} if self.test is None else {"test": self.test}
        measured = find("landscape", name, "measure")(self.terrain(), **options)
        table = pd.DataFrame(measured).reindex(columns=[*COLUMNS[1:]])
        table.insert(0, COLUMNS[0], name)
        table.to_csv(folder / "rows.csv", index=False)

    def result(self, folder: Path) -> pd.DataFrame:
        """Return the rows."""
        return pd.read_csv(folder / "rows.csv", keep_default_na=False, na_values=["", "nan"])

    def terrain(self) -> Terrain:
        """Return the terrain, read once per process, with the test's own random stream."""
        shared = json.dumps(self.decides() | {"aspect": None, "test": None}, sort_keys=True)
        if shared not in _terrains:
            _terrains.clear()
            _terrains[shared] = self._read()
        stream = seeds.generator("aspect", self.aspect["name"], self.test or "")
        return _terrains[shared]._replace(generator=stream)

    def _read(self) -> Terrain:
        folder = self.models[0].model
        shape = checkpoint.description(checkpoint.read_config(folder))
        net = checkpoint.initialise(shape).to(self.device)
        engine = Engine(net)

        def flat(model: Control) -> Tensor:
            state = checkpoint.load_state(model.model, net)
            return weights.flatten(state).to(self.device)

        starts = [
            weights.flatten(start(model.model, origin)).to(self.device)
            for model, origin in zip(self.models, self.origins, strict=True)
        ]
        early = {step: tuple(map(flat, models)) for step, models in self.early.items()}

        def part(name: str) -> Examples:
            return few(inputs(self.data, name, folder, self.device), self.rows, name)

        images = self.calibration and self.calibration.of(self.batchnorm)
        return Terrain(
            models=tuple(map(str, self.models)),
            vectors=tuple(map(flat, self.models)),
            engine=engine,
            batchnorm=self.batchnorm,
            calibration=images and images.load(self.device),
            sets={name: part(name) for name in self.sets},
            train=self.train.load(folder, self.device),
            tables=self.tables,
            generator=seeds.generator("aspect"),
            early={0: tuple(starts), **early},
        )


def gathered(folder: Path, experiments: Sequence[str]) -> Mapping[str, pd.DataFrame]:
    """Return the tables of experiments, and the streams of their models, by name.

    `folder` is `results/` of a profile. Without experiments there are no tables.
    """
    if not experiments:
        return {}
    barriers = results.gather(folder / "connect" / f"{name}.barriers.csv" for name in experiments)
    clusters = results.read(folder / "clusters.csv")
    models = pd.unique(barriers[["model_a", "model_b"]].to_numpy().ravel())
    configs = {model: checkpoint.read_config(Path("models") / model) for model in models}
    streams = [
        {"model": model, **config["streams"]}
        for model, config in configs.items()
        if "streams" in config
    ]
    return {
        "barriers": barriers,
        "paths": results.gather(folder / "connect" / f"{name}.csv" for name in experiments),
        "clusters": clusters.loc[clusters["experiment"].isin(experiments)],
        "streams": pd.DataFrame(streams, columns=["model", "head", "order", "dropout"]),
    }


def start(model: Path, origin: Path | None) -> weights.State:
    """Return the initial weights of the model in a folder, as drawn by its training.

    From scratch, they are drawn from its `init` stream. With an `origin`, the model or encoder that
    it was fine-tuned from, they are the origin's, and for text the `head` stream draws a new head.
    """
    config = checkpoint.read_config(model)
    if origin is None:
        with seeds.torch_stream("init", config["seed"]):
            return checkpoint.initialise(checkpoint.description(config)).state_dict()
    if not checkpoint.reads_text(config):
        return weights.load(origin / "model.safetensors")
    streams = Streams(**config["streams"])
    return started(origin, checkpoint.classes(config), streams).state_dict()


_terrains: dict[str, Terrain] = {}


@lru_cache(maxsize=64)
def _hash(origin: Path | None) -> str | None:
    return origin and folder_hash(origin)


def measurements(aspect: dict[str, Any], **models: Any) -> list[Measurement]:
    """Return every test of an aspect, or that of its option `test`; `models` are further arguments.

    `aspect` is a name with its options.
    """
    every = getattr(module("landscape", aspect["name"], "measure"), "TESTS", (None,))
    tests = every if aspect.get("test") is None else (aspect["test"],)
    return [Measurement(aspect=aspect, test=test, **models) for test in tests]


def tunes(method: str) -> bool:
    """Return whether a training method starts from a trained model."""
    return hasattr(module("training", method, ("finetune", "train")), "finetune")
