"""Merges as jobs: found in the store, or made, evaluated and put there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from basins import devices, seeds, weights
from basins.align import jobs as aligning
from basins.align.jobs import Control
from basins.align.permute import permute
from basins.errors import UserError
from basins.merges.evaluation import Evaluations, evaluations
from basins.merges.sources import Sources
from basins.nets import checkpoint
from basins.nets.permutation import Net
from basins.paths.jobs import Sets, prepared
from basins.registry import find, module, split_options
from basins.store import Store, code_hash
from basins.training.sample import Sample
from basins.weights import State, unflatten

WEIGHTS = "model.safetensors"

COLUMNS = (
    *("technique", "alignment", "batchnorm", "sources", "set", "members"),
    *("eval_set", "n", "loss", "loss_se", "accuracy"),
)
"""The columns of a merge's rows, in their order."""


@dataclass(frozen=True)
class Job:
    """One technique on one set of networks, which are aligned where that is asked for.

    `base` is what they were fine-tuned from, or None. `technique` is its name with its options, and
    `rows` which training rows it may use. `sets` may have the BatchNorm mode `repair`.
    """

    controls: tuple[Control, ...]
    base: Control | None
    technique: dict[str, Any]
    rows: Sample
    sets: Sets

    def __str__(self) -> str:
        return f"{self.technique['name']} of {' + '.join(map(str, self.controls))}"

    def key(self) -> dict[str, Any]:
        """Return everything that decides the losses, as the store's key."""
        net = checkpoint.family(checkpoint.read_config(self.controls[0].model))
        rooms = [f"merges.{self.technique['name']}", "merges.evaluation", "align.permute"]
        rooms += ["data.calibration", "data.tokens", "nets.inputs", f"nets.{net}"]
        return {
            "controls": [control.identity() for control in self.controls],
            "base": self.base and self.base.identity(),
            "technique": self.technique,
            "rows": self.rows[1:],
            "data": self.sets.fingerprint,
            "sets": self.sets.names,
            "calibration": self.sets.calibration[1:],
            "batchnorm": self.sets.batchnorm,
            "precision": self.sets.precision,
            "code": code_hash(__file__, *(f"basins.{room}" for room in rooms)),
            **devices.identity(self.sets.device),
        }


def run(job: Job, step: Callable[[], None]) -> Path:
    """Return the store's file of the job: the losses and hits of every example, and `members`.

    A job is one step, which its end tells. Raises `UserError`, naming model and tensor, where the
    networks have different architectures.
    """
    store, key = Store(), job.key()
    if not store.find("merges", key):
        check_shapes([control.model for control in job.controls])
        name, options = split_options(job.technique)
        engine, vectors, batchnorm, examples = prepared(job.controls, job.sets)
        net: Any = engine.net
        like = {tensor: value.clone() for tensor, value in net.state_dict().items()}
        sources = Sources(
            [unflatten(vector, like) for vector in vectors],
            job.base and base_state(job.base, job.controls[0], net),
            net,
            job.rows.load(job.controls[0].model, job.sets.device),
            seeds.generator("merge", name, *(control.fingerprint for control in job.controls)),
        )
        members = find("merges", name, "merge")(sources, **options)
        found = evaluations(engine, members, sources, batchnorm, examples, job.sets.precision)
        with store.making("merges", key) as folder:
            _write(found, len(members), folder / "losses.safetensors")
    return store.folder("merges", key) / "losses.safetensors"


def rows(job: Job, file: Path) -> Iterator[dict[str, Any]]:
    """Yield a row for each BatchNorm mode and evaluation set from what `run` returned for a job."""
    tensors = load_file(file)
    for mode, eval_set in product(job.sets.batchnorm, job.sets.names):
        losses = tensors[f"{mode}/{eval_set}/losses"]
        yield {
            "batchnorm": mode,
            "sources": " + ".join(map(str, job.controls)),
            "members": int(tensors["members"]),
            "eval_set": eval_set,
            "n": len(losses),
            "loss": losses.mean(dtype=np.float64),
            "loss_se": losses.std(ddof=1, dtype=np.float64) / len(losses) ** 0.5,
            "accuracy": tensors[f"{mode}/{eval_set}/correct"].mean(),
        }


def align(
    groups: Sequence[tuple[Control, ...]],
    alignment: dict[str, Any],
    sets: Sets,
    run: Callable[..., list[Any]],
) -> list[tuple[Control, ...]]:
    """Return each set of networks, brought to its first, or all into a common frame of the set.

    `run` does jobs and returns their results. Networks that are alone stay as they are.
    """
    work: list[tuple[tuple[Control, ...], list[aligning.Job]]] = [
        (group, _alignment(group, alignment, sets)) for group in groups
    ]
    every = [job for _, jobs in work for job in jobs]
    files = iter(run(aligning.run, every, title=alignment["name"]) if every else [])
    found = []
    for group, jobs in work:
        pairs = aligning.aligned(jobs, [next(files) for _ in jobs])
        moved = dict(zip(group, group, strict=True))
        for (first, other), ends in pairs.items():
            moved |= dict(zip((first, other), ends, strict=True))
        found.append(tuple(moved[control] for control in group))
    return found


def _alignment(
    group: tuple[Control, ...], alignment: dict[str, Any], sets: Sets
) -> list[aligning.Job]:
    first, *others = group
    pairs = [(first, other) for other in others]
    if not pairs:
        return []
    rest = (sets.calibration, sets.fingerprint, "corrected", sets.device)
    return aligning.plan(pairs, alignment, *rest)


def mixes(technique: str) -> bool:
    """Return whether a technique mixes networks' weights, so that their alignment matters."""
    return getattr(module("merges", technique, "merge"), "MIXES", True)


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


def _write(found: Evaluations, members: int, path: Path) -> None:
    tensors = {"members": np.array(members)}
    for (mode, name), evaluation in found.items():
        tensors[f"{mode}/{name}/losses"] = evaluation.losses
        tensors[f"{mode}/{name}/correct"] = evaluation.correct
    path.write_bytes(save(tensors))  # save_file hides a full disk's error number
