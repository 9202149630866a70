"""Alignments as jobs: found in the store, or computed and put there."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from safetensors.numpy import load_file, save

from basins import devices, seeds
from basins.align.activations import correlations
from basins.align.batchnorm import BATCH
from basins.data.calibration import Calibration
from basins.data.resident import Resident
from basins.nets import checkpoint
from basins.nets.permutation import Net
from basins.registry import find, module, split_options
from basins.store import Store, code_hash

Protocol = Literal["published", "corrected"]  # of Mechanistic Mode Connectivity's code, or ours
OFFERS = ("align", "align_all")  # a file of this room has one of them
MEMORY = 2**31  # bytes that the correlations of a block of pairs may take


class Control(NamedTuple):
    """A network that points are mixed from: a model, perhaps with its units permuted.

    `fingerprint` is the hash of the model's weights. `permutations` is a file that `run` wrote, and
    `key` the model's part of it; both are empty for a model as it is.
    """

    model: Path
    fingerprint: str
    permutations: str = ""
    key: str = ""

    def __str__(self) -> str:
        """Return the model's id: its folder, below `models/` where it lies there."""
        below = self.model.relative_to("models") if self.model.is_relative_to("models") else None
        return (below or self.model).as_posix()

    def identity(self) -> list[str]:
        """Return what decides its weights, as a part of a store's key."""
        # The folder of permutations is named after all that decides them.
        return [self.fingerprint, Path(self.permutations).parent.name, self.key]

    def plain(self) -> Control:
        """Return the model as it is."""
        return Control(self.model, self.fingerprint)

    def permuted(self, file: Path, number: int) -> Control:
        """Return the model put through the permutations of that number in a file of `run`."""
        return self._replace(permutations=str(file), key=str(number))

    def read(self) -> dict[str, np.ndarray]:
        """Return the permutations to put the model through, by group; none for a plain one."""
        if not self.permutations:
            return {}
        prefix = f"{self.key}/"
        file = load_file(self.permutations)
        return {name.removeprefix(prefix): p for name, p in file.items() if name.startswith(prefix)}


Pair = tuple[Control, Control]


@dataclass(frozen=True)
class Job:
    """Pairs to align by one method; `alignment` is its name with its options.

    `inputs` is the hash of the data that activations are taken on, empty where none are. What
    follows `protocol` is which of the calibration images: all, or as published those of one batch.
    """

    pairs: tuple[Pair, ...]
    alignment: dict[str, Any]
    calibration: Calibration
    inputs: str
    protocol: Protocol
    device: torch.device

    def __str__(self) -> str:
        (first, _), (_, last) = self.pairs[0], self.pairs[-1]
        return f"{self.alignment['name']} of {first} to {last}"

    def key(self) -> dict[str, Any]:
        """Return everything that decides the permutations, as the store's key."""
        net = checkpoint.family(checkpoint.read_config(self.pairs[0][0].model))
        rooms = [f"basins.align.{self.alignment['name']}", f"basins.nets.{net}"]
        return {
            "pairs": [[control.fingerprint for control in pair] for pair in self.pairs],
            "alignment": self.alignment,
            "calibration": self.inputs and [self.inputs, *self.calibration[1:], self.protocol],
            "code": code_hash(__file__, *rooms),
            **devices.identity(self.device),
        }


def plan(
    pairs: Sequence[Pair],
    alignment: dict[str, Any],
    calibration: Calibration,
    data_hash: str,
    protocol: Protocol,
    device: torch.device,
) -> list[Job]:
    """Return the jobs that align every pair: none, one a pair, one a block of pairs, or one.

    A method that looks at two networks' weights is one job a pair. One that is given correlations
    of activations takes them in blocks, with one pass over the block's networks; one that brings
    all networks into a common frame is a single job.
    """
    if alignment["name"] == "none":
        return []
    method = module("align", alignment["name"], OFFERS)
    seen = data_hash if _takes_correlations(method) else ""
    if hasattr(method, "align_all"):
        groups = [tuple(pairs)]
    elif seen:
        groups = list(_tiles(pairs))
    else:
        groups = [(pair,) for pair in pairs]
    return [Job(group, alignment, calibration, seen, protocol, device) for group in groups]


def aligned(jobs: Iterable[Job], files: Iterable[Path]) -> dict[Pair, Pair]:
    """Return every pair of the jobs as it is to be joined, by the pair as it was.

    `files` is what `run` returned for each job.
    """
    found: dict[Pair, Pair] = {}
    for job, file in zip(jobs, files, strict=True):
        common, models = _is_common(job), _models(job)
        for number, (a, b) in enumerate(job.pairs):
            if common:
                found[a, b] = (
                    a.permuted(file, models.index(a)),
                    b.permuted(file, models.index(b)),
                )
            else:
                found[a, b] = (a, b.permuted(file, number))
    return found


def run(job: Job, step: Callable[[], None]) -> Path:
    """Return the store's file of permutations: `<pair>/<group>`, or `<network>/<group>`, int [n].

    The number of a pair, or of a network where all are brought into a common frame, counts them in
    the order of the job. A job is one step, which its end tells.
    """
    store, key = Store(), job.key()
    if not store.find("align", key):
        name, options = split_options(job.alignment)
        function = find("align", name, OFFERS)
        models = _models(job)
        nets = [checkpoint.load(control.model).to(job.device) for control in models]
        states, spec = [net.state_dict() for net in nets], nets[0].permutation_spec()
        if _is_common(job):
            stream = seeds.generator("alignment", *(control.fingerprint for control in models))
            found = function(states, spec, generator=stream, **options)
        else:
            indices = [(models.index(a), models.index(b)) for a, b in job.pairs]
            given = _correlations(job, nets, indices) if job.inputs else [{}] * len(indices)
            found = [
                function(
                    states[a],
                    states[b],
                    spec,
                    generator=seeds.generator("alignment", *(c.fingerprint for c in pair)),
                    **more,
                    **options,
                )
                for pair, (a, b), more in zip(job.pairs, indices, given, strict=True)
            ]
        tensors = {
            f"{number}/{group}": permutation.astype(np.int32)
            for number, permutations in enumerate(found)
            for group, permutation in permutations.items()
        }
        with store.making("align", key) as folder:
            (folder / "permutations.safetensors").write_bytes(save(tensors))
    return store.folder("align", key) / "permutations.safetensors"


def _models(job: Job) -> list[Control]:
    return list(dict.fromkeys(control for pair in job.pairs for control in pair))


def _is_common(job: Job) -> bool:
    return hasattr(module("align", job.alignment["name"], OFFERS), "align_all")


def _correlations(
    job: Job, nets: Sequence[Net], pairs: Sequence[tuple[int, int]]
) -> list[dict[str, Any]]:
    data = job.calibration.load(job.device)
    if job.protocol == "published":  # every batch is matched alone, and the last one's match stays
        data = Resident(data.images[-BATCH:], data.labels[-BATCH:])
    batches = (inputs for inputs, _ in data.batches())
    found = correlations(nets, nets[0].permutation_spec(), batches, pairs)
    return [{"correlations": modules} for modules in found]


def _takes_correlations(method: ModuleType) -> bool:
    function = getattr(method, "align", None)
    return function is not None and "correlations" in inspect.signature(function).parameters


def _tiles(pairs: Sequence[Pair]) -> Iterator[tuple[Pair, ...]]:
    """Yield the pairs in blocks of as many networks on each side as memory allows."""
    # The correlations of a pair take about as many bytes as its larger networks' weights, or fewer.
    weights = (pairs[0][0].model / "model.safetensors").stat().st_size
    side = max(1, isqrt(MEMORY // weights))
    number = {control: i for i, control in enumerate(dict.fromkeys(c for p in pairs for c in p))}
    blocks: dict[tuple[int, int], list[Pair]] = {}
    for a, b in pairs:
        blocks.setdefault((number[a] // side, number[b] // side), []).append((a, b))
    yield from (tuple(block) for block in blocks.values())
