"""Merged networks and what they are worth, as items of the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.numpy import load_file, save

from basins import seeds, weights
from basins.align.permute import permute
from basins.data.images import Evaluation
from basins.errors import UserError
from basins.item import Item, Step
from basins.merges.evaluation import evaluations
from basins.merges.sources import Sources
from basins.nets.control import Control
from basins.nets.permutation import Net
from basins.paths.points import Sets, prepared
from basins.registry import find, split_options
from basins.training.sample import Sample
from basins.weights import State, unflatten

WEIGHTS, FILE = "model.safetensors", "losses.safetensors"

COLUMNS = (
    *("technique", "alignment", "batchnorm", "sources", "set", "members"),
    *("eval_set", "n", "loss", "loss_se", "accuracy"),
)
"""The columns of a merge's rows, in their order."""


@dataclass(frozen=True)
class Merged(Item):
    """One technique on one set of networks, which are aligned where that is asked for.

    `base` is what they were fine-tuned from, or None. `technique` is its name with its options, and
    `rows` which training rows it may use. `sets` may have the BatchNorm mode `repair`.
    """

    controls: tuple[Control, ...]
    base: Control | None
    technique: dict[str, Any]
    rows: Sample
    sets: Sets
    kind: ClassVar[str] = "merges"

    def __str__(self) -> str:
        return f"{self.technique['name']} of {' + '.join(map(str, self.controls))}"

    @property
    def device(self) -> torch.device:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Where the networks are merged and evaluated."""
        return self.sets.device

    def decides(self) -> dict[str, Any]:
        """Return all that decides the losses but for code and machine."""
        return {
            "controls": [control.identity() for control in self.controls],
            "net": self.controls[0].net(),
            "base": self.base and self.base.identity(),
            "technique": self.technique,
            "rows": self.rows[1:],
            **self.sets.identity(),
        }

    def make(self, folder: Path, step: Step) -> None:
        """Write `losses.safetensors`: losses and hits of every example, and `members`.

        Raises `UserError`, naming model and tensor, where the networks have different
        architectures.
        """
        name, options = split_options(self.technique)
        check_shapes([control.model for control in self.controls])
        engine, vectors, batchnorm, examples = prepared(self.controls, self.sets)
        net: Any = engine.net
        like = {tensor: value.clone() for tensor, value in net.state_dict().items()}
        sources = Sources(
            [unflatten(vector, like) for vector in vectors],
            self.base and base_state(self.base, self.controls[0], net),
            net,
            self.rows.load(self.controls[0].model, self.device),
            seeds.generator("merge", name, *(control.fingerprint for control in self.controls)),
        )
        members = find("merges", name, "merge")(sources, **options)
        losses = evaluations(engine, members, sources, batchnorm, examples, self.sets.precision)
        tensors = {"members": np.array(len(members))}
        for (mode, eval_set), evaluation in losses.items():
            tensors[f"{mode}/{eval_set}/losses"] = evaluation.losses
            tensors[f"{mode}/{eval_set}/correct"] = evaluation.correct
        (folder / FILE).write_bytes(save(tensors))  # save_file hides a full disk's error number

    def result(self, folder: Path) -> list[dict[str, Any]]:
        """Return a row for each BatchNorm mode and evaluation set."""
        tensors, found = load_file(folder / FILE), []
        for mode, eval_set in product(self.sets.batchnorm, self.sets.names):
            losses = tensors[f"{mode}/{eval_set}/losses"]
            found.append(
                {
                    "batchnorm": mode,
                    "sources": " + ".join(map(str, self.controls)),
                    "members": int(tensors["members"]),
                    "eval_set": eval_set,
                    **summary(Evaluation(losses, tensors[f"{mode}/{eval_set}/correct"])),
                }
            )
        return found


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """Return what the rows of a merge say of its losses (nats) and hits; none where undefined."""
    losses, correct = evaluation
    count = len(losses)
    values = {
        "loss": losses.mean(dtype=np.float64),
        "loss_se": losses.std(ddof=1, dtype=np.float64) / count**0.5,
        "accuracy": correct.mean(),
    }
    return {"n": count, **(values if evaluation.defined else dict.fromkeys(values, np.nan))}


def check_shapes(folders: Sequence[Path]) -> None:
    """Raise `UserError` at the first tensor that models do not have in the same shape."""
    first, *others = folders
    wanted = weights.shapes(first / WEIGHTS)
    for folder in others:
        found = weights.shapes(folder / WEIGHTS)
        for name in sorted(wanted.keys() | found.keys()):
            if wanted.get(name) != found.get(name):
                ours, theirs = (str(s.get(name, "absent")) for s in (found, wanted))
                raise UserError(
                    f"{folder}: {name} is {ours}, in {first} it is {theirs}; "
                    "merge models of one architecture"
                )


def base_state(base: Control, first: Control, net: Net) -> State:
    """Return the tensors that a base has in common with networks like `net`, on its device.

    They go through the permutations of `first`, the network that the set is aligned to: what was
    fine-tuned from the base has its units. An encoder lacks a classifier's head. Raises `UserError`
    where the base has nothing in common with them, or a tensor of another shape.
    """
    like = net.state_dict()
    prefix = f"{getattr(net, 'base_model_prefix', '')}."  # a text encoder by itself has none
    there = weights.load(base.model / WEIGHTS)
    found = weights.in_common(there, like, prefix, base, "set `base` to what they start from")
    moved = permute({**like, **found}, net.permutation_spec(), first.read())
    return {name: moved[name] for name in found}
