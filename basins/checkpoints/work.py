"""The steps of a command, which are kept in the store and run in several processes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.numpy import load_file
from safetensors.numpy import save as serialise

from basins import weights
from basins.checkpoints import given
from basins.checkpoints.measure import Bench, Measured, Step
from basins.checkpoints.models import code
from basins.data.images import Evaluation
from basins.item import Item, get
from basins.nets import checkpoint
from basins.paths.evaluation import DoubleEntry

LOSSES, WEIGHTS, NOTES = "losses.safetensors", "model.safetensors", "notes.json"


@dataclass(frozen=True)
class Work(Item):
    """One step of a command: the method `what` of `Bench`, applied to the networks `names`.

    `recipe` states, as JSON, how networks and data are read, and `options` the method's keyword
    arguments. `count` is the number of points that it evaluates.
    """

    recipe: str
    what: str
    names: tuple[str, ...]
    options: str
    count: int
    device: torch.device
    kind: ClassVar[str] = "checkpoints"

    def __str__(self) -> str:
        return " to ".join(self.names)

    def steps(self) -> int:
        """Return the number of points that are evaluated."""
        return self.count

    def decides(self) -> dict[str, Any]:
        """Return everything that determines the losses, except code and machine."""
        models, named = (bench := _bench(self.recipe, self.device)).models, {}
        for key, value in json.loads(self.options).items():
            named[key] = {"name": value} if key in ("path", "alignment") else value
        states = [
            [models.hashes[name], bench.said(name), *_read_by(bench, name)] for name in self.names
        ]
        return {**common(self.recipe, self.device), "what": self.what, **named, "models": states}

    def take(self, bench: Bench, step: Step) -> Measured:
        """Run the step and return its result."""
        return getattr(bench, self.what)(self.names, step, **json.loads(self.options))

    def make(self, folder: Path, step: Step) -> None:
        """Write the losses of every example, the weights if any, and the warnings."""
        bench = _bench(self.recipe, self.device)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = self.take(bench, step)
        tensors = {"numbers": found.numbers}
        for (mode, name), evaluations in found.curves.items():
            tensors[f"{mode}/{name}/losses"] = np.stack([e.losses for e in evaluations])
            tensors[f"{mode}/{name}/correct"] = np.stack([e.correct for e in evaluations])
        (folder / LOSSES).write_bytes(serialise(tensors))
        notes = {"double_entry": asdict(found.entry), "said": [str(one.message) for one in said]}
        (folder / NOTES).write_text(json.dumps(notes))
        if found.state is not None:
            weights.save(found.state, folder / WEIGHTS)

    def result(self, folder: Path) -> Measured:
        """Read the result, and repeat its warnings."""
        tensors, notes = load_file(folder / LOSSES), json.loads((folder / NOTES).read_text())
        for line in notes["said"]:
            warnings.warn(line, stacklevel=2)
        curves: dict[tuple[str, str], list[Evaluation]] = {}
        for key in (key for key in tensors if key.endswith("/losses")):
            mode, name = key.removesuffix("/losses").split("/", 1)
            parts = zip(tensors[key], tensors[f"{mode}/{name}/correct"], strict=True)
            curves[mode, name] = [Evaluation(*part) for part in parts]
        state = weights.load(folder / WEIGHTS) if (folder / WEIGHTS).is_file() else None
        entry = DoubleEntry(**notes["double_entry"])
        return Measured(curves, tensors["numbers"], entry, state)


benches: dict[tuple[str, torch.device], Bench] = {}  # only the latest of this process


def _bench(recipe: str, device: torch.device) -> Bench:
    if (recipe, device) not in benches:
        benches.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parent process has shown these warnings
            benches[recipe, device] = given.bench(json.loads(recipe), device)
    return benches[recipe, device]


def _read_by(bench: Bench, name: str) -> list[str]:
    """Return a hash of the sets as encoded by a network's own tokenizer, if it has its own."""
    own = bench.task.own.get(name)
    return [given.hashed(own.items())] if own else []


@lru_cache(maxsize=1)
def common(recipe: str, device: torch.device) -> dict[str, Any]:
    """Return what determines the results of all steps of a command."""
    bench, read = _bench(recipe, device), json.loads(recipe)
    config = bench.models.config
    return {
        "base": bench.models.base_hash,
        "net": read["net"] and code(read["net"]),
        "config": config and {**checkpoint.function(config), "name": checkpoint.family(config)},
        "loss": code(read["loss"]),
        "labels": read["labels"],
        "truncate": read["truncate"],
        "sets": given.identity(bench.task),
        "rows": [given.files_identity(read[name]) for name in ("data", "train")],
        "threads": torch.get_num_threads(),
    }


def forget() -> None:
    """Release the networks and data of the current command."""
    benches.clear()
    common.cache_clear()


def made(work: Work, step: Step) -> None:
    """Put a step into the store, unless it is there; warnings are suppressed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        get(work, step)


def idle() -> None:
    """Ignore progress."""


def written(parts: Mapping[str, Any]) -> str | None:
    """Return the arguments as JSON, to be read again later; None if any is an object."""

    def path(value: Any) -> str:
        if isinstance(value, Path):
            return str(value)
        raise TypeError

    with suppress(TypeError, ValueError):
        return json.dumps(parts, default=path)
    return None
