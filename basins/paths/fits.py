"""The inner control points of paths as jobs: found in the store, or fitted and put there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from basins import devices, results, seeds
from basins.align.jobs import Control, Pair, Protocol
from basins.data import cued, disk
from basins.data.cued import Cued
from basins.nets import checkpoint
from basins.paths import jobs
from basins.paths.fitting import Mixture
from basins.registry import find, split_options
from basins.store import Store, code_hash
from basins.training.mixed import inputs, mixed
from basins.training.rows import Rows


@dataclass(frozen=True)
class Job:
    """One curve whose inner control point is to be fitted; `path` is its name with its options.

    `curve` is what people call it, `ends` are as they are aligned, and `inputs` is the hash of the
    training data of the dataset in the folder `data`: images with and without cue, or text.
    """

    curve: str
    path: dict[str, Any]
    ends: Pair
    data: Path
    inputs: str
    protocol: Protocol
    device: torch.device

    def __str__(self) -> str:
        return self.curve

    def key(self) -> dict[str, Any]:
        """Return everything that decides the fitted weights, as the store's key."""
        net = checkpoint.family(checkpoint.read_config(self.ends[0].model))
        rooms = [f"paths.{self.path['name']}", "align.permute", f"nets.{net}"]
        return {
            "ends": [end.identity() for end in self.ends],
            "path": self.path,
            "data": self.inputs,
            "protocol": self.protocol,
            "code": code_hash(__file__, *(f"basins.{room}" for room in rooms)),
            **devices.identity(self.device),
        }


def run(job: Job, step: Callable[[], None]) -> Control:
    """Return the fitted control point: a folder with model.safetensors, config.json and log.csv.

    Its draws are the same for all paths and alignments of two models. `step` is called after every
    row of the log.
    """
    store, key = Store(), job.key()
    if not store.find("fits", key):
        name, options = split_options(job.path)
        config = checkpoint.description(checkpoint.read_config(job.ends[0].model))
        models = [end.fingerprint for end in job.ends]
        with seeds.torch_stream("midpoint", *models):
            net = checkpoint.initialise(config).to(job.device)
        ends = [jobs.vector(end, net).to(job.device) for end in job.ends]
        order, data = seeds.torch_generator("path", *models), training_data(job)
        fit, rows = find("paths", name, "fit"), []
        with store.making("fits", key) as folder, seeds.torch_stream("dropout", *models):
            for row in fit(net, ends, data, order, protocol=job.protocol, **options):
                rows.append(row)
                step()
            results.write(pd.DataFrame(rows), folder / "log.csv")
            checkpoint.save(net, config, folder)
            if not isinstance(data, Cued):  # so that the folder is one of a text classifier
                checkpoint.tokenizer(job.ends[0].model).save_pretrained(folder)
    folder = store.folder("fits", key)
    return Control(folder, checkpoint.fingerprint(folder))


def fingerprint(data: Path) -> str:
    """Return the hash of the training data of the dataset in the folder `data`."""
    return (
        cued.fingerprint(data) if disk.is_image(data) else inputs(data, "train", "counterexamples")
    )


def training_data(job: Job) -> Cued | Mixture:
    """Return the images with and without their cue, or what mixes a text's rows on the device."""
    if disk.is_image(job.data):
        return cued.read(job.data)
    model = job.ends[0]

    def rows(counterexamples: float, noise: float, seed: int) -> Rows:
        given = (job.data, job.inputs, model.model, model.fingerprint)
        return mixed(*given, counterexamples, noise, seed, job.device)

    return rows
