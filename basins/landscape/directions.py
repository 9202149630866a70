"""Directions that span a plane with fewer than three models: random, or Hessian eigenvectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from basins import seeds
from basins.errors import UserError
from basins.item import Item, Step
from basins.landscape.convexity import random_start
from basins.landscape.lanczos import lanczos
from basins.landscape.terrain import Terrain, filter_normalised
from basins.nets import checkpoint
from basins.nets.control import Control
from basins.paths.engine import Engine
from basins.paths.evaluation import Examples
from basins.paths.points import vector
from basins.training.sample import Sample

Which = Literal["random", "hessian"]
STEPS = 40  # of Lanczos; the two highest eigenvalues are accurate to 1e-3 after about 20


def directions(
    which: Which, engine: Engine, at: Tensor, data: Examples, count: int, *keys: str
) -> list[Tensor]:
    """Return `count` directions [size] that span a plane at a network, 0 for its statistics.

    Args:
        which: `random` directions are Gaussian and normalised by filter (Li et al. 2018, section
            4), so they are about as long as the weights. `hessian` directions are the eigenvectors
            with the highest eigenvalues of the Hessian of the mean training loss, of length 1 (Yao
            et al. 2020).
        engine: has a network of the architecture.
        at: the network's flat weights [size].
        data: training rows, for the Hessian.
        count: the number of directions, at least 1.
        keys: names of the stream from which random directions and Lanczos's start are drawn.

    Raises:
        UserError: products with the Hessian are not finite, or span fewer directions.
    """
    stream = seeds.generator("plane", *keys)
    terrain = Terrain((), (), engine, "interpolate", None, {}, data, {}, stream)
    if which == "random":
        return [filter_normalised(terrain, at) for _ in range(count)]
    start = random_start(terrain, at)
    found = lanczos(terrain.hessian(at), start, STEPS)
    if len(found.values) < count:
        raise UserError(f"the Hessian has {len(found.values)} directions here, not {count}")
    return list(found.leading(count))


@dataclass(frozen=True)
class Displaced(Item):
    """The network at distance `reach` from a model along its direction with a given number.

    `sample` has the training rows for the Hessian; `data` is the hash of their dataset.
    """

    model: Control
    which: Which
    number: int
    reach: float
    sample: Sample
    data: str
    device: torch.device
    kind: ClassVar[str] = "directions"

    def __str__(self) -> str:
        return f"{self.which} direction {self.number} at {self.model}"

    def decides(self) -> dict[str, Any]:
        """Return everything that determines the network, except code and machine."""
        rows = [self.data, *self.sample[1:]] if self.which == "hessian" else None
        which = [self.which, self.number, self.reach]
        shared = {"model": self.model.identity(), "net": self.model.net()}
        return {**shared, "which": which, "rows": rows}

    def make(self, folder: Path, step: Step) -> None:
        """Save the network in `folder`, in the same form as models."""
        config = checkpoint.description(checkpoint.read_config(self.model.model))
        net = checkpoint.initialise(config).to(self.device)
        engine = Engine(net)
        at = vector(self.model, net).to(self.device)
        given = at, self.sample.load(self.model.model, self.device), self.number + 1
        *_, last = directions(self.which, engine, *given, self.model.fingerprint)
        engine.flat.vector.copy_(at + self.reach * last)
        checkpoint.save(net, config, folder)
        if checkpoint.reads_text(config):
            checkpoint.tokenizer(self.model.model).save_pretrained(folder)

    def result(self, folder: Path) -> Control:
        """Return the network."""
        return Control.of(folder)
