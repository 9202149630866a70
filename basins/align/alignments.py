"""Alignments: which permutations bring networks into one order of units, as items of the store."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.numpy import save

from basins import seeds
from basins.align.activations import correlations
from basins.align.batchnorm import BATCH
from basins.data.calibration import Calibration, Procedure
from basins.data.resident import Resident
from basins.item import Item, Step
from basins.nets import checkpoint
from basins.nets.control import Control, Pair
from basins.nets.permutation import Net
from basins.registry import find, module, split_options

OFFERS = ("align", "align_all")  # a file of this room has one of them
FILE = "permutations.safetensors"
MEMORY = 2**31  # bytes that the correlations of a block of pairs may take


@dataclass(frozen=True)
class Alignment(Item):
    """Pairs to align by one method; `alignment` is its name with its options.

    `inputs` is the hash of the data that activations are taken on, empty where none are. What
    follows `protocol` is which of the calibration images: all, or as published those of one batch.
    """

    pairs: tuple[Pair, ...]
    alignment: dict[str, Any]
    calibration: Calibration
    inputs: str
    protocol: Procedure
    device: torch.device
    kind: ClassVar = "align"

    def __str__(self) -> str:
        (first, _), (_, last) = self.pairs[0], self.pairs[-1]
        return f"{self.alignment['name']} of {first} to {last}"

    def decides(self) -> dict[str, Any]:
        """Return all that decides the permutations but for code and machine."""
        return {
            "pairs": [[control.fingerprint for control in pair] for pair in self.pairs],
            "net": self.pairs[0][0].net(),
            "alignment": self.alignment,
            "calibration": self.inputs and [self.inputs, *self.calibration[1:], self.protocol],
        }

    def make(self, folder: Path, step: Step) -> None:
        """Write `permutations.safetensors`: `<pair>/<group>`, or `<network>/<group>`, int [n].

        The number of a pair, or of a network where all are brought into a common frame, counts them
        in the order of the item.
        """
        name, options = split_options(self.alignment)
        function = find("align", name, OFFERS)
        models = self.models()
        nets = [checkpoint.load(control.model).to(self.device) for control in models]
        states, spec = [net.state_dict() for net in nets], nets[0].permutation_spec()
        if self.is_common():
            stream = seeds.generator("alignment", *(control.fingerprint for control in models))
            found = function(states, spec, generator=stream, **options)
        else:
            indices = [(models.index(a), models.index(b)) for a, b in self.pairs]
            given = self._data(nets, indices)
            found = [
                function(
                    states[a],
                    states[b],
                    spec,
                    generator=seeds.generator("alignment", *(c.fingerprint for c in pair)),
                    **more,
                    **options,
                )
                for pair, (a, b), more in zip(self.pairs, indices, given, strict=True)
            ]
        tensors = {
            f"{number}/{group}": permutation.astype(np.int32)
            for number, permutations in enumerate(found)
            for group, permutation in permutations.items()
        }
        (folder / FILE).write_bytes(save(tensors))

    def result(self, folder: Path) -> Path:
        """Return the file of permutations."""
        return folder / FILE

    def models(self) -> list[Control]:
        """Return the networks of all pairs, each once."""
        return list(dict.fromkeys(control for pair in self.pairs for control in pair))

    def is_common(self) -> bool:
        """Return whether the method brings all networks into a common frame."""
        return hasattr(module("align", self.alignment["name"], OFFERS), "align_all")

    def _data(self, nets: Sequence[Net], pairs: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
        """Return what the method takes of the data, for each pair."""
        asked = asks(module("align", self.alignment["name"], OFFERS))
        if not asked:
            return [{}] * len(pairs)
        data = self.calibration.load(self.device)
        if "data" in asked:
            return [{"net": nets[0], "data": data}] * len(pairs)
        if self.protocol == "published":  # every batch is matched alone; the last one's match stays
            data = Resident(data.images[-BATCH:], data.labels[-BATCH:])
        batches = (inputs for inputs, _ in data.batches())
        found = correlations(nets, nets[0].permutation_spec(), batches, pairs)
        return [{"correlations": modules} for modules in found]


def plan(
    pairs: Sequence[Pair],
    alignment: dict[str, Any],
    calibration: Calibration,
    data_hash: str,
    protocol: Procedure,
    device: torch.device,
) -> list[Alignment]:
    """Return what aligns every pair: nothing, an item a pair, a block of pairs, or all of them.

    A method that looks at two networks is an item a pair. One that is given correlations of
    activations takes them in blocks, with one pass over the block's networks; one that brings
    all networks into a common frame is a single item. The method `none` needs no items.

    Args:
        pairs: the networks to align; without a common frame, the second of each to the first.
        alignment: the name of a method with its options.
        calibration: the training images that activations are taken on.
        data_hash: of the data that activations are taken on; it is kept only where the method takes
            some.
        protocol: `corrected` takes activations on all calibration images, `published` on those of
            one batch.
        device: where the alignments are made.
    """
    if alignment["name"] == "none":
        return []
    method = module("align", alignment["name"], OFFERS)
    asked = asks(method)
    seen = data_hash if asked else ""
    if hasattr(method, "align_all"):
        groups = [tuple(pairs)]
    elif "correlations" in asked:
        groups = list(_tiles(pairs))
    else:
        groups = [(pair,) for pair in pairs]
    return [Alignment(group, alignment, calibration, seen, protocol, device) for group in groups]


def aligned(items: Iterable[Alignment], files: Iterable[Path]) -> dict[Pair, Pair]:
    """Return every pair of the items as it is to be joined, by the pair as it was.

    `files` are their results.
    """
    found: dict[Pair, Pair] = {}
    for item, file in zip(items, files, strict=True):
        common, models = item.is_common(), item.models()
        for number, (a, b) in enumerate(item.pairs):
            if common:
                found[a, b] = (
                    a.permuted(file, models.index(a)),
                    b.permuted(file, models.index(b)),
                )
            else:
                found[a, b] = (a, b.permuted(file, number))
    return found


def asks(method: ModuleType) -> set[str]:
    """Return what of the data a method of two networks takes: `correlations`, labelled `data`."""
    function = getattr(method, "align", None)
    known = inspect.signature(function).parameters if function else {}
    return {"correlations", "data"} & set(known)


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
