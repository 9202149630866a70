"""Networks from folders of this project, from Hugging Face's, or of a stranger's own code."""

from __future__ import annotations

import importlib.util
import pickle
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from basins import weights
from basins.errors import UserError
from basins.nets import checkpoint
from basins.store import file_hash, whole_folder
from basins.weights import State

WEIGHTS = "model.safetensors"
NUMBERED = re.compile(r"(?P<recipe>.*?)[-_.]*(?:seed)?[-_.]*(?P<seed>\d+)")


@dataclass(frozen=True)
class Models:
    """Trained networks of one architecture.

    `states` are their weights, float32 on the device, and `hashes` the sha256 of their files, both
    by id, which is `recipe/seedK`. `net` is a network like them, whose weights may be overwritten.
    `folder` is that of the first where it has a `config.json`, and `text` whether they read text.
    """

    states: dict[str, State]
    hashes: dict[str, str]
    net: nn.Module
    folder: Path | None
    text: bool


def read(given: Sequence[str], factory: str | None, device: torch.device) -> Models:
    """Read the models that are given as `PATH` or `NAME=PATH`.

    With `factory`, `FILE.py:function`, the function's network takes the weights in each path: a
    `.safetensors`, `.pt` or `.pth` file, or a folder with `model.safetensors`. Without, each path
    is a folder of this project or of a BERT classifier of Hugging Face. Raises `UserError` where
    two have one id, one is not readable, or they are not of one architecture.
    """
    paths: dict[str, Path] = {}
    for text in given:
        name, path = identify(text)
        if name in paths:
            raise UserError(
                f"{paths[name]} and {path} would both be called {name}; "
                f"give one another name: other/seed0={path}"
            )
        paths[name] = path
    folders = list(paths.values())
    net = build(factory) if factory else _described(folders)
    files = {name: _weights(path) for name, path in paths.items()}
    states = {name: _read(file, net) for name, file in files.items()}
    config = None if factory else checkpoint.read_config(folders[0])
    moved = {name: {k: t.to(device) for k, t in state.items()} for name, state in states.items()}
    folder = folders[0] if (folders[0] / "config.json").is_file() else None
    text = config is not None and "model_type" in config
    hashes = {name: file_hash(file) for name, file in files.items()}
    return Models(moved, hashes, net.to(device).eval(), folder, text)


def identify(text: str) -> tuple[str, Path]:
    """Return the id, `recipe/seedK`, and the path of a model that is given as PATH or NAME=PATH.

    The number at the end of a file's or folder's name is taken as the seed; without one it is 0.
    """
    name, equals, path = text.partition("=")
    if equals:
        return name if re.fullmatch(r".+/seed\d+", name) else f"{name}/seed0", Path(path)
    path = Path(text).resolve()
    if path.suffix:
        path = path.parent if path.name == WEIGHTS else path.with_suffix("")
    found = NUMBERED.fullmatch(path.name)
    recipe, seed = (found["recipe"], int(found["seed"])) if found else (path.name, 0)
    return f"{recipe or path.parent.name}/seed{seed}", Path(text)


def build(factory: str) -> nn.Module:
    """Return the network of a function without arguments, given as `FILE.py:function`.

    Raises `UserError` where the file or the function is missing, fails, or makes something else.
    """
    file, _, function = factory.rpartition(":")
    if not Path(file).is_file():
        raise UserError(f"--net {factory}: no such file; give FILE.py:function")
    sys.path.insert(0, str(Path(file).resolve().parent))  # as if it were run: for what lies beside
    spec = importlib.util.spec_from_file_location("__net__", file)  # it may be called as another
    assert spec is not None and spec.loader is not None, file
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    make: Callable[[], Any]
    try:
        spec.loader.exec_module(module)
        make = getattr(module, function)
        net = make()
    except Exception as error:  # it is not our code: whatever it raises, in one line
        raise UserError(f"--net {factory}: {type(error).__name__}: {short(error)}") from None
    if not isinstance(net, nn.Module):
        raise UserError(f"--net {factory}: it returns {type(net).__name__}, not a torch module")
    return net.float()


def base_state(path: Path, models: Models) -> State:
    """Return what a base, such as an encoder without a head, has in common with the models.

    Raises `UserError` where that is nothing, or a tensor has another shape.
    """
    file, like = _weights(path), models.net.state_dict()
    prefix = f"{getattr(models.net, 'base_model_prefix', '')}."  # what an encoder's names lack
    return weights.in_common(_tensors(file), like, prefix, file, "give --base what they start from")


def save(models: Models, state: State, target: Path) -> None:
    """Write weights into a new folder that loads as the first of the models does.

    Raises `UserError` where the folder has something in it.
    """
    refuse_filled(target)
    scratch = target.with_name(f".{target.name}.partial")
    try:
        with whole_folder(target, scratch) as folder:
            for file in sorted(models.folder.iterdir()) if models.folder else ():
                kept = file.suffix in (".json", ".txt") and "safetensors" not in file.name
                if file.is_file() and kept:
                    shutil.copy(file, folder / file.name)
            weights.save(state, folder / WEIGHTS)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def refuse_filled(target: Path) -> None:
    """Raise `UserError` where a folder is there and has something in it."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target}: not empty; choose a new folder for the merged model")


def _described(folders: Sequence[Path]) -> nn.Module:
    """Return the network that the configs in these folders describe, all the same."""
    first, *others = [_config(folder) for folder in folders]
    for folder, config in zip(folders[1:], others, strict=True):
        for key in ("model_type", "net", "image_shape", "num_classes", "id2label", "vocab_size"):
            if config.get(key) != first.get(key):
                found = f"{key} is {config.get(key)}, in {folders[0]} {first.get(key)}"
                raise UserError(f"{folder}: {found}; give models of one architecture"[:400])
    return checkpoint.described(folders[0])


def _config(folder: Path) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{folder}: no folder with a config.json; for a network of your own give "
            "--net FILE.py:function"
        )
    config = checkpoint.read_config(folder)
    kinds = config.get("architectures") or ["BertForSequenceClassification"]
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if "model_type" in config and kinds != ["BertForSequenceClassification"]:
        raise UserError(
            f"{folder}: a {', '.join(map(str, kinds))}; of Hugging Face's models only "
            "BertForSequenceClassification is supported, or give --net FILE.py:function"
        )
    return config


def _weights(path: Path) -> Path:
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{file}: no such file; save the weights as safetensors there")
    if file.suffix not in (".safetensors", ".pt", ".pth"):
        raise UserError(f"{file}: give a state dict as .safetensors, .pt or .pth")
    return file


def _read(file: Path, net: nn.Module) -> State:
    """Read the state that is to fit `net`, in float32."""
    state, like = _tensors(file), net.state_dict()
    if wrong := weights.misfit(state, like):
        name, found, wanted = wrong
        raise UserError(f"{file}: {name} is {found}, in the network it is {wanted}")
    return {k: t.float() if t.is_floating_point() else t for k, t in state.items()}


def _tensors(file: Path) -> State:
    return weights.load(file) if file.suffix == ".safetensors" else _unpickled(file)


def _unpickled(file: Path) -> State:
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
        state = found.get("state_dict", found)
        for name, tensor in state.items():
            plain = isinstance(tensor, torch.Tensor) and tensor.layout is torch.strided
            if not isinstance(name, str) or not plain or tensor.is_quantized or tensor.is_meta:
                raise TypeError("not a state dict of plain tensors")
    except pickle.UnpicklingError:
        raise UserError(
            f"{file}: more than tensors is pickled in it, which could run code; "
            "save net.state_dict() as safetensors"
        ) from None
    except Exception as error:  # a torn file is refused in many ways
        raise UserError(f"{file}: not a readable state dict ({short(error)})") from None
    weights.check_finite(state, file)
    return state


def short(error: Exception) -> str:
    """Return what an error says, in one line that is not too long."""
    return " ".join(str(error).split())[:120]
