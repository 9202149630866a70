"""Large checkpoints in safetensors, of which one network at a time is in memory.

A point between two is put together tensor by tensor from the mapped files, and so is a mean.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from basins import weights
from basins.checkpoints import models
from basins.errors import UserError
from basins.paths.engine import Examples, evaluate
from basins.paths.points import Losses
from basins.store import whole_file

NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}


class Tensors:
    """The tensors of a file or folder of safetensors, each read when it is asked for."""

    def __init__(self, path: Path, files: ExitStack) -> None:
        self.path = path
        self.where: dict[str, Any] = {}
        for file in models.files(path):
            if file.suffix != ".safetensors":
                raise UserError(f"{file}: only safetensors are read tensor by tensor; save as such")
            try:
                opened = files.enter_context(safe_open(file, "pt"))
            except Exception as error:  # of a torn file
                raise UserError(f"{file}: damaged ({models.short(error)})") from None
            self.where |= dict.fromkeys(opened.keys(), opened)

    def named(self, like: Mapping[str, Any]) -> dict[str, str]:
        """Return what the file calls each tensor of `like`; raises `UserError` where one lacks."""
        ours: Any = weights.renamed({name: name for name in self.where}, dict(like))  # type: ignore
        if missing := sorted(like.keys() - ours.keys()):
            more = ", ..." if len(missing) > weights.LISTED else ""
            shown = ", ".join(missing[: weights.LISTED])
            raise UserError(f"{self.path}: it lacks {len(missing)} tensors: {shown}{more}")
        return ours

    def read(self, name: str) -> Tensor:
        """Return one tensor; raises `UserError` where it holds values that are not finite."""
        found = self.where[name].get_tensor(name)
        weights.check_finite({name: found}, self.path)
        return found


def between(
    net: nn.Module, a: Path, b: Path, ts: Sequence[float], sets: Mapping[str, Examples]
) -> Losses:
    """Return the losses at the points (1 - t) a + t b, which are put together in `net`.

    BatchNorm's statistics are mixed as the weights are. Beside `net` two tensors are in memory.
    Raises `UserError` where a checkpoint is not of its architecture.
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
                    place.copy_(first)
                    continue
                if t == 0 and name in trained:
                    squares += float((first.double() - last.double()).square().sum())
                mixed = first if t == 0 else last
                if 0 < t < 1:
                    start, end = _float(first, last)
                    mixed = torch.lerp(start, end, t)
                place.copy_(mixed)
            for name, data in sets.items():
                curves["interpolate", name].append(evaluate(net, data))
    return Losses(curves, squares**0.5)


def mean(sources: Sequence[Path], shares: Sequence[float], target: Path) -> None:
    """Write the weighted mean of checkpoints, tensor by tensor, in the first one's types.

    Args:
        sources: files or folders of safetensors.
        shares: of each, which may be negative, as in task arithmetic.
        target: the file that is written.

    Raises:
        UserError: they do not have the same tensors.
    """
    with ExitStack() as files:
        read = [Tensors(path, files) for path in sources]
        first = read[0]
        for other in read[1:]:
            if wrong := sorted(first.where.keys() ^ other.where.keys()):
                raise UserError(f"{other.path}: {wrong[0]} is not in it and {first.path} alike")

        def made(name: str) -> Tensor:
            tensors = [one.read(name) for one in read]
            if len({tensor.shape for tensor in tensors}) > 1:
                raise UserError(f"{name} has other shapes in {', '.join(map(str, sources))}")
            if not tensors[0].is_floating_point():
                return tensors[0]
            whole = torch.zeros(tensors[0].shape)
            for tensor, share in zip(tensors, shares, strict=True):
                whole.add_(tensor.float(), alpha=share)
            return whole.to(tensors[0].dtype)

        _write(first, made, target)


def _write(like: Tensors, made: Callable[[str], Tensor], target: Path) -> None:
    """Write tensors one after the other behind the header that says where each will be."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, file in like.where.items():
        part = file.get_slice(name)
        tensor = file.get_tensor(name)
        if tensor.dtype not in NAMES:
            raise UserError(f"{like.path}: {name} is {tensor.dtype}, which is not mixed")
        stop = start + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": part.get_dtype(), "shape": part.get_shape()}
        header[name]["data_offsets"] = [start, stop]
        start = stop
    written = json.dumps(header).encode()
    written += b" " * (-len(written) % 8)
    with whole_file(target) as partial, partial.open("wb") as file:
        file.write(struct.pack("<Q", len(written)) + written)
        for name in like.where:
            file.write(made(name).contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


def _float(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.float() for tensor in tensors)
