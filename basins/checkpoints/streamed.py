"""Large safetensors checkpoints, evaluated and merged with little memory.

Points of a path and merges are assembled tensor by tensor from memory-mapped files, so that one
network is in memory at a time, or for merges none.
"""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

from basins import weights
from basins.checkpoints import states
from basins.checkpoints.states import short
from basins.errors import UserError
from basins.merges.sources import Formula, Scope, Sources
from basins.paths.evaluation import Examples, evaluate
from basins.weights import State

BY_TENSOR = ("breadcrumbs", "consensus", "dare", "della", "fedavg", "iso_c", "iso_cts")
BY_TENSOR += ("karcher", "knots", "magmax", "model_stock", "multi_slerp", "pcb", "sce", "slerp")
BY_TENSOR += ("task_arithmetic", "ties", "tsv", "uniform_soup", "wise_ft")
"""Techniques that compute each tensor only from the networks' tensors of the same name."""

NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64"}
NAMES |= {torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL"}
PART = 2**20  # elements converted to float64 at once
SHARD = 5 * 10**9  # bytes per file, at most, except for a single larger tensor


class Tensors:
    """The tensors of a file or folder of safetensors, each read on demand."""

    def __init__(self, path: Path, files: ExitStack) -> None:
        self.path = path
        self.where: dict[str, Any] = {}
        for file in states.files(path):
            if file.suffix != ".safetensors":
                raise UserError(f"{file}: only safetensors are read tensor by tensor; save as such")
            try:
                opened = files.enter_context(safe_open(file, "pt"))
            except Exception as error:  # a damaged file
                raise UserError(f"{file}: damaged ({short(error)})") from None
            self.where |= dict.fromkeys(opened.keys(), opened)

    def named(self, like: Mapping[str, Any]) -> dict[str, str]:
        """Return each tensor's name in the file; raises `UserError` if one of `like` is missing."""
        ours: Any = weights.renamed({name: name for name in self.where}, dict(like))  # type: ignore
        if missing := sorted(like.keys() - ours.keys()):
            more = ", ..." if len(missing) > weights.LISTED else ""
            shown = ", ".join(missing[: weights.LISTED])
            raise UserError(f"{self.path}: it lacks {len(missing)} tensors: {shown}{more}")
        return ours

    def read(self, name: str) -> Tensor:
        """Return one tensor; raises `UserError` if it has values that are not finite."""
        found = self.where[name].get_tensor(name)
        weights.check_finite({name: found}, self.path)
        return found

    def kind(self, name: str) -> tuple[str, list[int], int]:
        """Return a tensor's dtype, named as in safetensors, its shape and its size in bytes."""
        part = self.where[name].get_slice(name)
        types = {known: dtype for dtype, known in NAMES.items()}
        if part.get_dtype() not in types:
            raise UserError(f"{self.path}: {name} is {part.get_dtype()}, which is not mixed")
        shape = part.get_shape()
        size = types[part.get_dtype()].itemsize
        return part.get_dtype(), shape, size * int(np.prod(shape, dtype=np.int64))


def between(
    net: nn.Module,
    a: Path,
    b: Path,
    ts: Sequence[float],
    sets: Mapping[str, Examples],
    step: Callable[[], None],
) -> tuple[dict[tuple[str, str], list[Any]], float]:
    """Return the losses at the points (1 - t) a + t b, and the distance of a and b.

    BatchNorm's statistics are interpolated like the weights. Points are assembled in `net`; besides
    it, only two tensors of one name and their mixture are in memory. `step` is called after every
    point. Raises `UserError` if a checkpoint does not fit the architecture of `net`.
    """
    second, state = weights.other_names(net), net.state_dict()
    like = {name: tensor for name, tensor in state.items() if name not in second}
    trained = {name for name, _ in net.named_parameters()}
    curves: dict[tuple[str, str], list[Any]] = {("interpolate", name): [] for name in sets}
    squares = 0.0
    with ExitStack() as files:
        one, other = Tensors(a, files), Tensors(b, files)
        names, others = one.named(like), other.named(like)
        for t in ts:
            for name, place in like.items():
                first, last = one.read(names[name]), other.read(others[name])
                for path, found in ((a, first), (b, last)):
                    if found.shape != place.shape:
                        shapes = f"{tuple(found.shape)}, not {tuple(place.shape)}"
                        raise UserError(f"{path}: {name} is {shapes}")
                if not place.is_floating_point():
                    states.alike({str(a): {name: first}, str(b): {name: last}}, trained)
                    place.copy_(first)
                    continue
                if t == 0 and name in trained:
                    squares += _squares(first, last)
                mixed = first if t == 0 else last
                if 0 < t < 1:
                    mixed = torch.lerp(first.float(), last.float(), t)
                place.copy_(mixed)
            for name, data in sets.items():
                curves["interpolate", name].append(evaluate(net, data))
            step()
    return curves, squares**0.5


def _squares(first: Tensor, last: Tensor) -> float:
    """Return the squared distance of two tensors, summed in float64 in parts."""
    parts = zip(first.flatten().split(PART), last.flatten().split(PART), strict=True)
    return sum(float((one.double() - other.double()).square().sum()) for one, other in parts)


class _One(Sources):
    """Sources reduced to one tensor of each network."""

    def _made(
        self, names: Sequence[str], start: State | None, formula: Formula, scope: Scope
    ) -> State:
        if scope == "vector":
            raise UserError("tensor by tensor: scope 'vector' takes all weights at once")
        return super()._made(names, start, formula, scope)


def merge(
    net: nn.Module,
    sources: Sequence[Path],
    base: Path | None,
    technique: Callable[..., Sequence[State]],
    options: Mapping[str, Any],
    generator: np.random.Generator,
    target: Path,
) -> None:
    """Merge checkpoints tensor by tensor and write the result in the dtypes of the first.

    Before that cast, the result is bit for bit that of merging whole networks in float32. Only the
    networks' tensors of one name, and float64 intermediates of the technique, are in memory.

    Args:
        net: a network of the same architecture, possibly on the device `meta`.
        sources: files or folders of safetensors.
        base: the model that they were fine-tuned from, or None; a warning names tensors that it
            does not have.
        technique: one of `BY_TENSOR`.
        options: the technique's options.
        generator: the technique's random generator.
        target: a folder, for `model.safetensors`, or for shards and their index.

    Raises:
        UserError: a checkpoint lacks a tensor, or the technique needs several at once.
    """
    second = weights.other_names(net)
    like = {name: tensor for name, tensor in net.state_dict().items() if name not in second}
    trained = {name for name, _ in net.named_parameters()}
    with ExitStack() as files:
        read = [Tensors(path, files) for path in sources]
        names = [one.named(like) for one in read]
        origin = Tensors(base, files) if base else None
        there = {} if origin is None else _in_common(origin, like, second, net)

        def made(name: str) -> Tensor:
            found = [one.read(known[name]) for one, known in zip(read, names, strict=True)]
            for path, tensor in zip(sources, found, strict=True):
                if tensor.shape != like[name].shape:
                    shapes = f"{tuple(tensor.shape)}, not {tuple(like[name].shape)}"
                    raise UserError(f"{path}: {name} is {shapes}")
            if not found[0].is_floating_point():
                each = zip(map(str, sources), found, strict=True)
                states.alike({path: {name: tensor} for path, tensor in each}, trained)
                return found[0]
            start = None
            if origin is not None:
                start = {name: origin.read(there[name]).float()} if name in there else {}
            parameters = [(name, found[0])] if name in trained else []
            net_of_one: Any = SimpleNamespace(named_parameters=lambda: parameters)
            no_rows: Any = SimpleNamespace()
            each = [{name: tensor.float()} for tensor in found]
            [state] = technique(_One(each, start, net_of_one, no_rows, generator), **options)
            return state[name].to(found[0].dtype)

        _write({name: read[0].kind(names[0][name]) for name in sorted(like)}, made, target)


def _in_common(
    base: Tensors, like: Mapping[str, Tensor], second: Mapping[str, str], net: nn.Module
) -> dict[str, str]:
    """Return the base's name of each tensor that it has; a warning lists those it does not."""
    prefix = f"{getattr(net, 'base_model_prefix', '')}."
    short: dict[str, Any] = {name.removeprefix(prefix): name for name in like}
    ours: Any = weights.renamed({n: n for n in base.where}, {**short, **like})  # type: ignore
    named = {**{prefix + name: known for name, known in ours.items()}, **ours}
    named |= {first: named[n] for n, first in second.items() if n in named and first not in named}
    found = {name: named[name] for name in like if name in named}
    if not found:
        raise UserError(f"{base.path}: no tensor of the models; give --base what they start from")
    lacks = {n: t for n, t in like.items() if n not in found and t.is_floating_point()}
    if lacks:
        warnings.warn(states.lacking(base.path, lacks), stacklevel=2)
    return found


def _write(
    kinds: Mapping[str, tuple[str, list[int], int]],
    made: Callable[[str], Tensor],
    target: Path,
) -> None:
    """Write tensors one by one, each file starting with a header of their offsets.

    `kinds` gives every tensor's dtype, shape and size in bytes.
    """
    shards = [*_shards({name: kind[2] for name, kind in kinds.items()}, SHARD)]
    several, index = len(shards) > 1, {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors" if several else states.WEIGHTS
        index |= dict.fromkeys(names, file)
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        start = 0
        for name in names:
            dtype, shape, count = kinds[name]
            place = [start, start := start + count]
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": place}
        written = json.dumps(header).encode()
        written += b" " * (-len(written) % 8)
        with (target / file).open("wb") as opened:
            opened.write(struct.pack("<Q", len(written)) + written)
            for name in names:
                flat = made(name).contiguous().reshape(-1).view(torch.uint8)
                opened.write(flat.numpy().data)
    if several:
        whole = {"total_size": sum(kind[2] for kind in kinds.values())}
        found = {"metadata": whole, "weight_map": index}
        (target / f"{states.WEIGHTS}.index.json").write_text(json.dumps(found, indent=1) + "\n")


def _shards(sizes: Mapping[str, int], most: int) -> Iterator[list[str]]:
    """Yield groups of names, in order, of at most `most` bytes in total or of a single tensor."""
    names: list[str] = []
    total = 0
    for name, count in sizes.items():
        if names and total + count > most:
            yield names
            names, total = [], 0
        names.append(name)
        total += count
    yield names
