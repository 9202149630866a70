"""Alignments of networks, as permutations of units kept as items of the store."""

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

OFFERS = ("align", "align_all")  # a file of this package has one of them
FILE = "permutations.safetensors"
MEMORY = 2**31  # bytes that the correlations of a block of pairs may take


@dataclass(frozen=True)
class Alignment(Item):
    """Pairs to align by one method; `alignment` is its name with its options.

    `inputs` is the hash of the data that the method uses, or empty if it uses none. `protocol`
    decides which calibration images are used for activations: all, or as published one batch.
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
        """Return everything that determines the permutations, except code and machine."""
        return {
            "pairs": [[control.fingerprint for control in pair] for pair in self.pairs],
            "net": self.pairs[0][0].net(),
            "alignment": self.alignment,
            "calibration": self.inputs and [self.inputs, *self.calibration[1:], self.protocol],
        }

    def make(self, folder: Path, step: Step) -> None:
        """Write `permutations.safetensors`: `<pair>/<group>`, or `<network>/<group>`, int [n].

        Pairs, or networks if the method has a common frame, are numbered in the item's order.
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
        """Return the networks of all pairs without repetition."""
        return list(dict.fromkeys(control for pair in self.pairs for control in pair))

    def is_common(self) -> bool:
        """Return whether the method permutes all networks into a common frame."""
        return hasattr(module("align", self.alignment["name"], OFFERS), "align_all")

    def _data(self, nets: Sequence[Net], pairs: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
        """Return the arguments that the method takes from the data, for each pair."""
        asked = asks(module("align", self.alignment["name"], OFFERS))
        if not asked:
            return [{}] * len(pairs)
        data = self.calibration.load(self.device)
        if "data" in asked:
            return [{"net": nets[0], "data": data}] * len(pairs)
        if self.protocol == "published":  # its code keeps only the last batch's match
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
    """Return the items that align all pairs: one for each pair, for each block, or for all pairs.

    A method for two networks has one item per pair. If it uses correlations of activations, there
    is one item per block of pairs, with one pass over the block's networks. A method with a common
    frame has a single item. The method `none` needs no items.

    Args:
        pairs: the networks to align; without a common frame, the second of each to the first.
        alignment: the name of a method with its options.
        calibration: the training images for activations or losses.
        data_hash: the hash of these data; used only if the method uses data.
        protocol: `corrected` computes activations on all calibration images, `published` on one
            batch.
        device: the device on which alignments are computed.
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
    """Return the aligned pair for each original pair of the items; `files` are their results."""
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
    """Return which data a method for two networks takes: `correlations`, or labelled `data`."""
    function = getattr(method, "align", None)
    known = inspect.signature(function).parameters if function else {}
    return {"correlations", "data"} & set(known)


def _tiles(pairs: Sequence[Pair]) -> Iterator[tuple[Pair, ...]]:
    """Yield the pairs in blocks with as many networks on each side as memory allows."""
    # A pair's correlations take at most about as many bytes as the weights of a network.
    weights = (pairs[0][0].model / "model.safetensors").stat().st_size
    side = max(1, isqrt(MEMORY // weights))
    number = {control: i for i, control in enumerate(dict.fromkeys(c for p in pairs for c in p))}
    blocks: dict[tuple[int, int], list[Pair]] = {}
    for a, b in pairs:
        blocks.setdefault((number[a] // side, number[b] // side), []).append((a, b))
    yield from (tuple(block) for block in blocks.values())
