"""Networks from folders of this project, from Hugging Face's, or of a stranger's own code."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import pickle
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from basins import weights
from basins.errors import UserError
from basins.nets import checkpoint
from basins.paths.engine import Engine, double_entry, outcome
from basins.registry import find, module
from basins.store import file_hash, whole_folder
from basins.weights import State

WEIGHTS = "model.safetensors"
NESTED = ("state_dict", "model_state_dict", "model")  # where trainers keep the weights
AVERAGED = ("state_dict_ema", "ema_state_dict", "model_ema", "ema")  # and averages of them
LIBRARIES = {"torchvision": ("torchvision.models", "get_model"), "timm": ("timm", "create_model")}
NAMES = ("id2label", "label2id")
NUMBERED = re.compile(r"(?P<recipe>.*?)[-_.]*(?:seed)?[-_.]*(?P<seed>\d+)")


@dataclass(frozen=True)
class Models:
    """Trained networks of one architecture.

    `states` are their weights, float32 on the device, `hashes` the sha256 of their files, and
    `folders` where each is, by id, which is `recipe/seedK`. `net` is a network like them, whose
    weights may be overwritten. `config` is that of the first, or None where it has none, and `text`
    whether they read text. `classes` names the outputs, where that is known.
    """

    states: dict[str, State]
    hashes: dict[str, str]
    folders: dict[str, Path]
    net: nn.Module
    config: dict[str, Any] | None
    classes: tuple[str, ...] | None

    @cached_property
    def engine(self) -> Engine:
        """What evaluates the network at points between its weights; it is taken over by it."""
        return Engine(self.net)

    def double_entry(self) -> dict[str, Any]:
        """Return what came of computing losses a second time, so far."""
        known = [self.net]
        if "engine" in self.__dict__:  # making one takes the network's memory again
            known.append(self.engine.folded.function)
        return outcome([*map(double_entry, dict.fromkeys(known))])

    def sized(self) -> Callable[[Sequence[np.ndarray], str], list[np.ndarray]] | None:
        """Return what resizes and cuts images as the first network's folder says, if it does."""
        if self.config is None or "preprocessing" not in self.config:
            return None
        processor = find("nets", checkpoint.family(self.config), "processor")(
            next(iter(self.folders.values()))
        )

        def sized(pictures: Sequence[np.ndarray], where: str) -> list[np.ndarray]:
            try:
                found = [
                    processor(
                        Image.fromarray(picture).convert("RGB"),
                        do_rescale=False,
                        do_normalize=False,
                        return_tensors="np",
                    )["pixel_values"][0]
                    for picture in pictures
                ]
            except Exception as error:  # the library's own, of someone else's settings
                line = f"preprocessor_config.json does not fit the images: {short(error)}"
                raise UserError(f"{where}: {line}") from None
            return [picture.transpose(1, 2, 0) for picture in found]

        return sized

    @property
    def text(self) -> bool:
        """Whether they read text."""
        return self.config is not None and checkpoint.reads_text(self.config)


def read(
    given: Sequence[str],
    factory: str | None,
    device: torch.device,
    classes: tuple[str, ...] | None = None,
) -> Models:
    """Read the models that are given as `PATH` or `NAME=PATH`.

    With `factory`, `FILE.py:function`, or a name of torchvision's or timm's, its network takes the
    weights in each path: a state dict, or a folder with one. Without, each path is a folder of this
    project or of a classifier of Hugging Face. `classes` names their outputs, whatever the configs
    do. Raises `UserError` where two have one id, one is not readable, or they are not of one
    architecture.
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
    configs = [] if factory else [_config(folder) for folder in folders]
    if factory:
        net, config = build(factory), None
    else:
        config = _same(folders, configs, classes)
    files = {name: _files(path) for name, path in paths.items()}
    hashes = {name: _hash(file) for name, file in files.items()}
    if config is not None and checkpoint.by_library(config):
        nets = {name: checkpoint.load(path) for name, path in paths.items()}
        net = copy.deepcopy(nets[next(iter(nets))])
        states = {name: one.state_dict() for name, one in nets.items()}
    else:
        if config is not None:
            net = checkpoint.described(folders[0], _shapes(files[next(iter(paths))]))
        states = {name: _read(file, net) for name, file in files.items()}
    moved = {name: {k: t.to(device) for k, t in state.items()} for name, state in states.items()}
    return Models(moved, hashes, paths, net.to(device).eval(), config, classes)


def identify(text: str) -> tuple[str, Path]:
    """Return the id, `recipe/seedK`, and the path of a model that is given as PATH or NAME=PATH.

    The number at the end of a file's or folder's name is taken as the seed; without one it is 0.
    """
    name, equals, path = text.partition("=")
    if equals and not Path(text).exists():
        return name if re.fullmatch(r".+/seed\d+", name) else f"{name}/seed0", Path(path)
    path = Path(text).resolve()
    if path.suffix and not path.is_dir():
        path = path.parent if path.name == WEIGHTS else path.with_suffix("")
    found = NUMBERED.fullmatch(path.name)
    recipe, seed = (found["recipe"], int(found["seed"])) if found else (path.name, 0)
    return f"{recipe or path.parent.name}/seed{seed}", Path(text)


def build(factory: str) -> nn.Module:
    """Return the network of a function without arguments, given as `FILE.py:function`.

    Or else that of a name of torchvision's or timm's: `torchvision:resnet18`, and behind it what
    the library's function takes, as `timm:vit_tiny_patch16_224:num_classes=10`. Raises `UserError`
    where the file or the function is missing, fails, or makes something else.
    """
    library = factory.partition(":")[0]
    if library in LIBRARIES:
        return _named(factory)
    file, _, function = factory.rpartition(":")
    if not Path(file).is_file():
        raise UserError(f"--net {factory}: no such file; give FILE.py:function")
    sys.path.insert(0, str(Path(file).resolve().parent))  # as if it were run: for what lies beside
    spec = importlib.util.spec_from_file_location("__net__", file)  # it may be called as another
    assert spec is not None and spec.loader is not None, file
    written = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = written
    make: Callable[[], Any]
    try:
        spec.loader.exec_module(written)
        make = getattr(written, function)
        net = make()
    except Exception as error:  # it is not our code: whatever it raises, in one line
        raise UserError(f"--net {factory}: {type(error).__name__}: {short(error)}") from None
    if not isinstance(net, nn.Module):
        raise UserError(f"--net {factory}: it returns {type(net).__name__}, not a torch module")
    return net.float()


def _named(factory: str) -> nn.Module:
    library, name, *options = factory.split(":")
    try:
        module, function = LIBRARIES[library]
        given = dict(part.split("=", 1) for part in ",".join(options).split(",") if part)
        make = getattr(importlib.import_module(module), function)
        net = make(name, **{key: json.loads(value) for key, value in given.items()})
    except ImportError:
        raise UserError(f"--net {factory}: the package {library} is not installed") from None
    except Exception as error:  # the library's own
        raise UserError(f"--net {factory}: {type(error).__name__}: {short(error)}") from None
    return net.float()


def base_state(path: Path, models: Models) -> State:
    """Return what a base, such as an encoder without a head, has in common with the models.

    A warning names what it lacks, and what it has besides. Raises `UserError` where it has nothing
    in common with them, or a tensor has another shape.
    """
    files, net = _files(path), models.net
    like, there = net.state_dict(), _tensors(files)
    prefix = f"{getattr(net, 'base_model_prefix', '')}."  # what an encoder's names lack
    found = weights.in_common(there, like, prefix, path, "give --base what they start from")
    for name, first in weights.other_names(net).items():
        known = [found[n] for n in (first, name) if n in found]
        found |= dict.fromkeys((first, name), known[0]) if known else {}
    short = {name: t for name, t in like.items() if name not in found and t.is_floating_point()}
    if short:
        warnings.warn(
            f"{path}: of the models' weights it lacks {weights.listed(short)}; each counts as the "
            "models' mean",
            stacklevel=2,
        )
    named = weights.renamed(there, {n.removeprefix(prefix): t for n, t in like.items()} | like)
    more = {n: t for n, t in named.items() if n not in like and prefix + n not in like}
    if more:
        warnings.warn(f"{path}: not used is {weights.listed(more)}", stacklevel=2)
    return found


def save(models: Models, state: State, target: Path) -> None:
    """Write weights into a new folder that loads as the first of the models does.

    They are float32, as they were measured, and the config says so. Raises `UserError` where the
    folder has something in it.
    """
    refuse_filled(target)
    source = next(iter(models.folders.values()))
    scratch = target.with_name(f".{target.name}.partial")
    try:
        with whole_folder(target, scratch) as folder:
            for file in sorted(source.iterdir()) if source.is_dir() else ():
                kept = file.suffix in (".json", ".txt", ".model")
                if file.is_file() and kept and not file.name.endswith(".index.json"):
                    shutil.copy(file, folder / file.name)
            if (file := folder / "config.json").is_file():
                config = json.loads(file.read_text())
                named = {
                    k: v for k, v in (models.config or {}).items() if k in config or k in NAMES
                }
                config |= named
                kinds = {key: "float32" for key in ("dtype", "torch_dtype") if key in config}
                file.write_text(json.dumps({**config, **kinds}, indent=2) + "\n")
            weights.save(state, folder / WEIGHTS)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def refuse_filled(target: Path) -> None:
    """Raise `UserError` where a folder is there and has something in it."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target}: not empty; choose a new folder for the merged model")


def _same(
    folders: Sequence[Path], configs: Sequence[dict[str, Any]], classes: tuple[str, ...] | None
) -> dict[str, Any]:
    """Return the first config, with outputs called `classes`.

    Raises `UserError` where the configs are not of one function.
    """
    if classes is not None:
        names = {str(k): name for k, name in enumerate(classes)}
        numbers = {name: k for k, name in enumerate(classes)}
        configs = [
            {**config, "id2label": names, "label2id": numbers}
            if checkpoint.of_library(config)
            else config
            for config in configs
        ]
    try:
        first, *others = map(checkpoint.function, configs)
    except UserError as error:
        raise UserError(f"{folders[0]}: {error}") from None
    except Exception as error:  # the library's own, of someone else's config
        raise UserError(f"{folders[0]}: no usable config.json ({short(error)})") from None
    for folder, other in zip(folders[1:], others, strict=True):
        for key in sorted(first.keys() | other.keys()):
            if other.get(key) != first.get(key):
                found = f"{key} is {other.get(key)!s:.150}, in {folders[0]} {first.get(key)!s:.150}"
                raise UserError(f"{folder}: {found}; give models of one architecture")
    return configs[0]


def _config(folder: Path) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{folder}: no folder with a config.json; for a network of your own give "
            "--net FILE.py:function"
        )
    config = checkpoint.read_config(folder)
    if not checkpoint.of_library(config):
        return config
    if not checkpoint.by_library(config):
        known = module("nets", checkpoint.family(config), "from_config").ARCHITECTURE
        kinds = config.get("architectures") or [known]
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if kinds != [known]:
            raise UserError(
                f"{folder}: a {', '.join(map(str, kinds))}; of a {checkpoint.family(config)} only "
                f"{known} is supported, or give --net FILE.py:function"
            )
    kind, count = config.get("problem_type"), len(checkpoint.classes(config))
    if kind == "multi_label_classification" or count == 1:
        raise UserError(
            f"{folder}: {'one output' if count == 1 else 'several labels for a row'}; the command "
            "line measures classes, basins.connect(..., loss=...) of Python whatever you give it"
        )
    return config


def _files(path: Path) -> list[Path]:
    """Return the files that a model's weights are in: several where they were saved in shards."""
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
    if (path / "adapter_config.json").is_file():
        raise UserError(
            f"{path}: an adapter by itself; save its base with it, by peft's "
            "AutoPeftModelForSequenceClassification.from_pretrained(...).merge_and_unload()"
            ".save_pretrained(...), and give that"
        )
    raise UserError(f"{path}: no such file: {WEIGHTS}; save the weights as safetensors there")


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


def files(path: Path) -> list[Path]:
    """Return the files of a model's weights: several where they were saved in shards."""
    return _files(path)


def hashed(paths: Mapping[str, Path]) -> dict[str, str]:
    """Return the sha256 of each model's files."""
    return {name: _hash(_files(path)) for name, path in paths.items()}


def state(path: Path, net: nn.Module) -> State:
    """Return the weights in a file or folder, float32, that are to fit `net`."""
    return _read(_files(path), net)


def _hash(files: Sequence[Path]) -> str:
    digests = [file_hash(file) for file in files]
    whole = hashlib.sha256("".join(digests).encode())
    return digests[0] if len(digests) == 1 else whole.hexdigest()


def _shapes(files: Sequence[Path]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors; of safetensors only headers are read."""
    found: dict[str, tuple[int, ...]] = {}
    for file in files:
        if file.suffix == ".safetensors":
            found |= weights.shapes(file)
        else:
            found |= {name: tuple(tensor.shape) for name, tensor in _unpickled(file).items()}
    return found


def _read(files: Sequence[Path], net: nn.Module) -> State:
    """Read the state that is to fit `net`, in float32."""
    state = weights.conformed(_tensors(files), net, files[0])
    if wrong := weights.misfit(state, net.state_dict(), types=True):
        raise UserError(f"{files[0]}: it does not fit the network: {wrong}")
    return {k: t.float() if t.is_floating_point() else t for k, t in state.items()}


def _tensors(files: Sequence[Path]) -> State:
    found: State = {}
    for file in files:
        found |= weights.load(file) if file.suffix == ".safetensors" else _unpickled(file)
    return found


def _unpickled(file: Path) -> State:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        for _ in NESTED:
            inner = [key for key in (*NESTED, *AVERAGED) if isinstance(state.get(key), dict)]
            if others := [key for key in inner[1:] if key in AVERAGED]:
                warnings.warn(
                    f"{file}: read is {inner[0]!r}, and not the average beside it, {others[0]!r}; "
                    "for that save it by itself",
                    stacklevel=2,
                )
            state = state[inner[0]] if inner else state
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
    return dict(state)


def short(error: Exception) -> str:
    """Return what an error says, in one line that is not too long."""
    return " ".join(str(error).split())[:120]
