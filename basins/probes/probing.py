"""A model's evaluation on a diagnostic, as an item of the store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.numpy import load_file, save

from basins.data import disk, text
from basins.data.examples import columns
from basins.item import Item, Step
from basins.nets import checkpoint
from basins.nets.control import Control
from basins.nets.inputs import inputs
from basins.paths.evaluation import evaluate
from basins.registry import module

FILE = "values.safetensors"
Measure = tuple[str, str, np.ndarray]  # slice, metric, and the values [n] or [n, 2] of examples


@dataclass(frozen=True)
class Probing(Item):
    """A model's results on a diagnostic's sets, in the dataset's folder `data` with the given hash.

    `diagnostic` is its name with its options.
    """

    model: Control
    data: Path
    fingerprint: str
    diagnostic: dict[str, Any]
    device: torch.device
    kind: ClassVar[str] = "probe"

    def __str__(self) -> str:
        return str(self.model)

    def decides(self) -> dict[str, Any]:
        """Return everything that determines the values, except code and machine."""
        return {
            "model": self.model.identity(),
            "net": self.model.net(),
            "data": self.fingerprint,
            "diagnostic": self.diagnostic,
        }

    def make(self, folder: Path, step: Step) -> None:
        """Write `values.safetensors`, whose names are `<number>|<slice>|<metric>`."""
        diagnostic = module("probes", self.diagnostic["name"], "measures")
        model, names = self.model.model, diagnostic.SETS
        net = checkpoint.load(model).to(self.device)
        sets = {key: inputs(self.data, key, model, self.device) for key in names}
        evaluations = {key: evaluate(net, examples) for key, examples in sets.items()}
        read = columns if disk.is_image(self.data) else text.read  # with sentences
        known = {key: read(self.data, key) for key in names}
        values = {
            f"{number:05d}|{part}|{metric}": np.ascontiguousarray(of)
            for number, (part, metric, of) in enumerate(diagnostic.measures(evaluations, known))
        }
        (folder / FILE).write_bytes(save(values))

    def result(self, folder: Path) -> list[Measure]:
        """Return every measure, in the diagnostic's order."""
        values = load_file(folder / FILE)
        named = [(name.split("|"), of) for name, of in sorted(values.items())]
        return [(part, metric, of) for (_, part, metric), of in named]
