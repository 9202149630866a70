"""Read weights in common formats: safetensors, shards, pickles, checkpoints of trainers."""

from __future__ import annotations

import hashlib
import json
import pickle
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from basins import weights
from basins.errors import UserError
from basins.store import file_hash
from basins.weights import State

WEIGHTS = "model.safetensors"
NESTED = ("state_dict", "model_state_dict", "model")  # keys under which trainers store weights
AVERAGED = ("state_dict_ema", "ema_state_dict", "model_ema", "ema")  # and their averages
SHOWN = 8  # the most models that a message lists
SHARDS = {
    "global_step*": "DeepSpeed's shards; join them by the zero_to_fp32.py that it writes there",
    "pytorch_model_fsdp*": "FSDP's shards; join them by `accelerate merge-weights`",
    "*.distcp": "torch's distributed shards; join them by torch.distributed.checkpoint's "
    "dcp_to_torch_save",
    "*-of-*": "shards without their index; fetch the .index.json as well",
    "*.gguf": "a GGUF file; fetch the weights as safetensors",
    "*.h5": "a Keras file; save the weights as safetensors there",
    "*.msgpack": "a Flax file; save the weights as safetensors there",
}
"""Patterns of files whose weights are not read, and how to make them readable."""


def files(path: Path) -> list[Path]:
    """Return the files that contain a model's weights: several if they are sharded.

    Raises `UserError` if there are none, or the weights are quantised.
    """
    found = _files(path)
    for file in found:
        if file.suffix == ".safetensors" and (said := weights.quantised(file)):
            raise UserError(f"{file}: {said}: quantised weights cannot be mixed; dequantise them")
    return found


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        if not path.is_file():
            raise UserError(f"{path}: no such file; save the weights as safetensors there")
        return [path]
    for name in (WEIGHTS, "pytorch_model.bin"):
        if (path / name).is_file():
            return [path / name]
        index = path / f"{name}.index.json"
        if index.is_file():
            return _shards(index)
    for pattern, what in SHARDS.items():
        if any(path.glob(pattern)):
            raise UserError(f"{path}: its weights are in {what}")
    refuse_parent(path)
    raise UserError(f"{path}: no such file: {WEIGHTS}; save the weights as safetensors there")


def refuse_parent(path: Path) -> None:
    """Raise `UserError`, listing them, if a folder's subfolders are models or adapters."""
    for file, what in {"adapter_config.json": "adapter", "config.json": "model"}.items():
        if inside := sorted(found.parent.name for found in path.glob(f"*/{file}")):
            named = f"{', '.join(inside[:SHOWN])}{', ...' if len(inside) > SHOWN else ''}"
            many = f"{len(inside)} {what}s" if len(inside) > 1 else f"a {what}"
            raise UserError(f"{path}: no model, but it holds {many}: {named}; give the path of one")


def _shards(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        if not names or any(Path(name).name != name for name in names):
            raise ValueError("no names of files beside it")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{index}: not a readable index of shards ({short(error)})") from None
    if missing := [name for name in names if not (index.parent / name).is_file()]:
        many = f"{len(missing)} of {len(names)} shards are missing"
        raise UserError(f"{index.parent}: {many}: {', '.join(missing)[:200]}; fetch them again")
    return [index.parent / name for name in names]


def digest(paths: Sequence[Path]) -> str:
    """Return the sha256 of a file, or of the concatenated digests of several."""
    digests = [file_hash(file) for file in paths]
    whole = hashlib.sha256("".join(digests).encode())
    return digests[0] if len(digests) == 1 else whole.hexdigest()


def shapes(paths: Sequence[Path]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors; for safetensors only the headers are read."""
    found: dict[str, tuple[int, ...]] = {}
    for file in paths:
        if file.suffix == ".safetensors":
            found |= weights.shapes(file)
        else:
            found |= {name: tuple(tensor.shape) for name, tensor in _unpickled(file).items()}
    return found


def held(state: Mapping[str, Tensor], net: nn.Module, where: object) -> State:
    """Return a network's tensors under its own names, removing the prefix of a wrapping module.

    The prefix, such as `net.` or `student.net.`, is in front of each of the network's names; a
    warning says which tensors are not the network's. Raises `UserError`, naming `where`, if there
    are several such prefixes.
    """
    wanted = dict(net.named_parameters()).keys()  # only the first name of tied ones
    if not wanted or wanted <= state.keys():
        return dict(state)
    one = next(iter(wanted))
    ends = [name.removesuffix(one) for name in state if name.endswith(f".{one}")]
    prefixes = [prefix for prefix in ends if all(prefix + name in state for name in wanted)]
    if len(prefixes) > 1:
        line = f"there are weights of the network under {' and '.join(prefixes)}"
        raise UserError(f"{where}: {line:.160}; save one of them by itself")
    for prefix in prefixes:
        found = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
        more = {n: t for n, t in state.items() if not n.startswith(prefix)}
        more.pop("n_averaged", None)  # of torch's averaged models
        if more:
            line = f"{where}: read is {prefix}*, and not used is {weights.listed(more)}"
            warnings.warn(line, stacklevel=2)
        return found
    return dict(state)


def fitting(state: State, net: nn.Module, where: object) -> State:
    """Return a state in float32 under the names of `net`; raises `UserError` if it does not fit."""
    like = tensors(net.state_dict(), type(net).__name__)
    state = weights.conformed(held(state, net, where), net, where)
    if wrong := weights.misfit(state, like, types=True):
        raise UserError(f"{where}: not of the architecture of {type(net).__name__}: {wrong}")
    return {k: t.float() if t.is_floating_point() else t for k, t in state.items()}


def read(paths: Sequence[Path]) -> State:
    """Read all tensors of files, without conversion.

    Raises `UserError` if a file is not readable, contains anything but tensors, or has values that
    are not finite.
    """
    found: State = {}
    for file in paths:
        found |= weights.load(file) if file.suffix == ".safetensors" else _unpickled(file)
    return found


def _unpickled(file: Path) -> State:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"{file}: more than tensors is pickled in it, which could run code; "
            "save net.state_dict() as safetensors"
        ) from None
    except Exception as error:  # damaged files raise many kinds of errors
        raise UserError(f"{file}: not a readable state dict ({short(error)})") from None
    found = tensors(state, file)
    weights.check_finite(found, file)
    return found


def tensors(state: Any, where: object) -> State:
    """Return the tensors of a state dict, or of the one in a trainer's checkpoint.

    A warning names an average beside it. Raises `UserError`, naming `where`, if there is none, or
    it has anything but plain tensors.
    """
    wrong = f"{where}: not a readable state dict"
    for _ in NESTED:
        if not isinstance(state, Mapping):
            raise UserError(f"{wrong} (it is of the type {type(state).__name__})")
        inner = [key for key in NESTED if isinstance(state.get(key), Mapping)] or _inside(state)
        if len(inner) > 1 and inner[0] not in NESTED:
            line = f"there are several in it: {', '.join(map(str, inner))}"
            raise UserError(f"{wrong} ({line:.160}); save one of them by itself")
        inner += [key for key in AVERAGED if isinstance(state.get(key), Mapping)]
        if others := [key for key in inner[1:] if key in AVERAGED]:
            warnings.warn(
                f"{where}: read is {inner[0]!r}, and not the average beside it, {others[0]!r}; "
                "for that save it by itself",
                stacklevel=2,
            )
        state = state[inner[0]] if inner else state
    for name, tensor in state.items():
        plain = isinstance(tensor, Tensor) and tensor.layout is torch.strided
        plain = plain and not tensor.is_quantized and not tensor.is_meta
        if str(name).endswith("_extra_state"):
            line = f"{name!s:.60} is what get_extra_state() returns, which is not mixed"
            raise UserError(f"{wrong} ({line}); leave it out")
        if not isinstance(name, str) or not plain:
            line = f"{name!s:.60} is of the type {type(tensor).__name__}, and no plain tensor"
            raise UserError(f"{wrong} ({line})")
    return dict(state)


def _inside(state: Mapping[Any, Any]) -> list[Any]:
    """Return the keys of state dicts, but for averages, in what is not a state dict itself."""
    if any(isinstance(value, Tensor) and value.ndim for value in state.values()):
        return []
    parts = {k: [*v.values()] for k, v in state.items() if isinstance(v, Mapping) and v}
    each = {key: all(isinstance(value, Tensor) for value in part) for key, part in parts.items()}
    return [key for key, plain in each.items() if plain and key not in AVERAGED]


def alike(states: Mapping[str, Mapping[str, Tensor]], trained: Collection[str]) -> None:
    """Raise `UserError` if networks cannot be mixed, by their tensors that are not floating-point.

    These are not mixed, so they must be equal, and none of the parameters `trained` may be complex.
    No function depends on BatchNorm's batch counters, which may differ.
    """
    (first, like), *others = states.items()
    for name, tensor in like.items():
        if tensor.is_floating_point() or name.endswith("num_batches_tracked"):
            continue
        kind = str(tensor.dtype).removeprefix("torch.")
        if name in trained and tensor.is_complex():
            line = f"{first}: {name} is {kind}, which is not mixed"
            raise UserError(f"{line}; store it as real numbers, as by torch.view_as_real")
        for other, state in others:
            if name in state and not torch.equal(state[name], tensor):
                line = f"{other}: {name} ({kind}) differs from that of {first}, and is not mixed"
                raise UserError(f"{line}; give networks that have it in common")


def lacking(base: object, tensors: State) -> str:
    """Return the warning that a base does not have some of the networks' tensors."""
    return (
        f"{base}: of the models' weights it lacks {weights.listed(tensors)}; each counts as the "
        "models' mean"
    )


def short(error: Exception) -> str:
    """Return an error's message as one line of at most 120 characters, or what to do about it."""
    if "does not require grad" in str(error):
        return (
            "forward takes derivatives, and networks run in torch.inference_mode(); open "
            "torch.inference_mode(False) around them, or take them by torch.func.grad"
        )
    return " ".join(str(error).split())[:120]
