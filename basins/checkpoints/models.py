"""Read networks from folders of this project or of Hugging Face, or from a user's own code."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from basins import weights
from basins.checkpoints import adapters, states
from basins.checkpoints.adapters import Adapter
from basins.checkpoints.states import WEIGHTS, short
from basins.errors import UserError
from basins.nets import checkpoint
from basins.paths.engine import Engine
from basins.registry import find, module
from basins.store import whole_folder
from basins.weights import State

LIBRARIES = {"torchvision": ("torchvision.models", "get_model"), "timm": ("timm", "create_model")}
NAMES = ("id2label", "label2id")
OF_ONE = (".index.json", "trainer_state.json", "_results.json")  # files not copied to a merge
NUMBERED = re.compile(r"(?P<recipe>.*?)[-_.]*(?:seed)?[-_.]*(?P<seed>\d+)")


@dataclass(frozen=True)
class Models:
    """Trained networks of one architecture.

    By id, which is `recipe/seedK`, `states` holds their weights, float32 on the device, `hashes`
    the sha256 of their files (of the weights, if they are not files), and `folders` their paths.
    `net` is a network of this architecture whose weights may be overwritten. `config` is that of
    the first, or None if it has none. `classes` names the outputs, if known.
    """

    states: dict[str, State]
    hashes: dict[str, str]
    folders: dict[str, Path]
    net: nn.Module
    config: dict[str, Any] | None
    classes: tuple[str, ...] | None
    base: State | None = None
    base_hash: str | None = None

    @cached_property
    def engine(self) -> Engine:
        """The engine that evaluates `net` at points of paths, and overwrites its weights."""
        return Engine(self.net)

    def sized(self) -> Callable[[Sequence[np.ndarray], str], list[np.ndarray]] | None:
        """Return the first folder's function for resizing and cropping images, if it has one."""
        if self.config is None or "preprocessing" not in self.config:
            return None
        folder = next(iter(self.folders.values()))
        channels = getattr(getattr(self.net, "config", None), "num_channels", 3)
        one = find("nets", checkpoint.family(self.config), "sized")(folder, channels)

        def sized(pictures: Sequence[np.ndarray], where: str) -> list[np.ndarray]:
            try:
                return [one(picture) for picture in pictures]
            except Exception as error:  # the library may raise anything for a user's settings
                line = f"the folder's image processor does not fit the images: {short(error)}"
                raise UserError(f"{where}: {line}") from None

        return sized

    @property
    def text(self) -> bool:
        """Whether they read text."""
        return self.config is not None and checkpoint.reads_text(self.config)


def read(
    paths: Mapping[str, Path],
    factory: str | None,
    device: torch.device,
    classes: tuple[str, ...] | None = None,
) -> Models:
    """Read models from paths by id.

    With `factory`, which is `FILE.py:function` or a name in torchvision or timm, each path is a
    state dict for its network, or a folder with one. Without it, each is a folder of this project
    or of Hugging Face. Either may be the folder of an adapter, which is merged into its base.
    `classes` names the outputs and overrides the configs. Raises `UserError` if a model is not
    readable, or architectures differ.
    """
    known = {name: adapters.of(path) for name, path in paths.items()}
    places = {name: found.base if found else paths[name] for name, found in known.items()}
    configs = {} if factory else {n: _config(place, known[n]) for n, place in places.items()}
    config = _same([*places.values()], [*configs.values()], classes) if configs else None
    files = {
        name: [*states.files(place), *(adapter.files if (adapter := known[name]) else ())]
        for name, place in places.items()
    }
    hashes = {name: states.digest(each) for name, each in files.items()}
    library = config is not None and checkpoint.by_library(config)
    if library and config and not checkpoint.reads_text(config) and "preprocessing" not in config:
        line = "no preprocessor_config.json: images are given as they are, from -1 to 1"
        warnings.warn(f"{next(iter(places.values()))}: {line}", stacklevel=2)
    if factory:
        net = build(factory)
    elif library or known[next(iter(known))]:
        net = _loaded(next(iter(places.values())), next(iter(configs.values())))
    else:
        first = next(iter(places))
        net = checkpoint.described(places[first], states.shapes(files[first]))
    found: dict[str, State] = {}
    for number, (name, place) in enumerate(places.items()):
        if library or (configs and known[name]):
            one = copy.deepcopy(net) if number == 0 else _loaded(place, configs[name])
            state = one.state_dict()
        else:
            state = states.read(states.files(place))
        if adapter := known[name]:
            state = weights.conformed(state, net, place)
            state = adapters.merged(state, adapter, net)
        state = states.fitting(state, net, files[name][0])
        found[name] = {k: tensor.to(device) for k, tensor in state.items()}
    return Models(found, hashes, places, net.to(device).eval(), config, classes)


def _loaded(folder: Path, config: dict[str, Any]) -> Any:
    """Load a folder's network; an encoder gets a new head if `config` has one and it does not."""
    if config.get("architectures") != checkpoint.read_config(folder).get("architectures"):
        return checkpoint.classifier(folder, checkpoint.classes(config))
    return checkpoint.load(folder)


def identify(text: str) -> tuple[str, Path]:
    """Return the id, `recipe/seedK`, and the path of a model given as PATH or NAME=PATH.

    The seed is the number at the end of the file's or folder's name, or 0 if there is none.
    """
    name, equals, path = text.partition("=")
    if equals and not Path(text).exists():
        return name if re.fullmatch(r".+/seed\d+", name) else f"{name}/seed0", Path(path)
    path = Path(text).resolve()
    if path.suffix and not path.is_dir():
        plain = path.with_name(path.name.removesuffix(".tar")).with_suffix("")  # .pth.tar
        path = path.parent if path.name == WEIGHTS else plain
    found = NUMBERED.fullmatch(path.name)
    recipe, seed = (found["recipe"], int(found["seed"])) if found else (path.name, 0)
    return f"{recipe or path.parent.name}/seed{seed}", Path(text)


def build(factory: str) -> nn.Module:
    """Return the network made by a function without arguments, given as `FILE.py:function`.

    Or a network of torchvision or timm: `torchvision:resnet18`, optionally followed by arguments
    of the library's function, as in `timm:vit_tiny_patch16_224:num_classes=10`. Raises `UserError`
    if the file or the function is missing, fails, or returns something else.
    """
    library = factory.partition(":")[0]
    if library in LIBRARIES:
        line = f"--net {library}: images are from -1 to 1"
        warnings.warn(f"{line}; other scales need a FILE.py:FUNCTION (docs/use.md)", stacklevel=2)
        return _named(factory)
    net = written(factory, "--net", lambda make: make())
    if not isinstance(net, nn.Module):
        raise UserError(f"--net {factory}: it returns {type(net).__name__}, not a torch module")
    return net.float()


def written(place: str, option: str, take: Callable[[Any], Any]) -> Any:
    """Return `take(function)` for a user's function, given as `FILE.py:function` by an option.

    Raises `UserError` if there is no such file or function, or it fails.
    """
    file, _, function = place.rpartition(":")
    if not function or Path(place).is_file():
        raise UserError(f"{option} {place}: it names no function; give FILE.py:function")
    if not Path(file).is_file():
        raise UserError(f"{option} {place}: no such file; give FILE.py:function")
    folder = str(Path(file).resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as for a script: it may import files beside it
    name = f"__{Path(file).stem}__"  # avoids clashes with an imported module of that name
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None, file
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        return take(getattr(module, function))
    except Exception as error:  # a user's code may raise anything; report it in one line
        raise UserError(f"{option} {place}: {type(error).__name__}: {short(error)}") from None


def code(place: str) -> str:
    """Return a hash of the file in `FILE.py:function`, and of the modules imported from its folder.

    Any other name is returned unchanged.
    """
    file = Path(place.rpartition(":")[0])
    if not file.is_file():
        return place
    folder, beside = file.resolve().parent, {file.resolve()}
    for one in [*sys.modules.values()]:
        path = Path(getattr(one, "__file__", None) or "/")
        if path.is_relative_to(folder) and "site-packages" not in path.parts and path.is_file():
            beside.add(path)
    return f"{place.rpartition(':')[2]} {states.digest(sorted(beside))}"


def _named(factory: str) -> nn.Module:
    library, name, *options = factory.split(":")
    try:
        module, function = LIBRARIES[library]
        given = dict(part.split("=", 1) for part in ",".join(options).split(",") if part)
        make = getattr(importlib.import_module(module), function)
        net = make(name, **{key: json.loads(value) for key, value in given.items()})
    except ImportError:
        raise UserError(f"--net {factory}: the package {library} is not installed") from None
    except Exception as error:  # the library may raise anything
        raise UserError(f"--net {factory}: {type(error).__name__}: {short(error)}") from None
    return net.float()


def base_state(path: Path, models: Models) -> State:
    """Return the tensors that a base, such as an encoder without a head, shares with the models.

    Warnings name the models' tensors that it does not have, and those that only it has. Raises
    `UserError` if they share no tensor, or a shape differs.
    """
    net = models.net
    like, there = net.state_dict(), states.held(states.read(states.files(path)), net, path)
    prefix = f"{getattr(net, 'base_model_prefix', '')}."  # absent from an encoder's names
    found = weights.in_common(there, like, prefix, path, "give --base what they start from")
    for name, first in weights.other_names(net).items():
        known = [found[n] for n in (first, name) if n in found]
        found |= dict.fromkeys((first, name), known[0]) if known else {}
    short = {name: t for name, t in like.items() if name not in found and t.is_floating_point()}
    if short:
        warnings.warn(states.lacking(path, short), stacklevel=2)
    named = weights.renamed(there, {n.removeprefix(prefix): t for n, t in like.items()} | like)
    more = {n: t for n, t in named.items() if n not in like and prefix + n not in like}
    if more:
        warnings.warn(f"{path}: not used is {weights.listed(more)}", stacklevel=2)
    return found


def save(models: Models, state: State, target: Path) -> None:
    """Write weights into a new folder that loads like the first model.

    They are float32, as when they were measured, and the config says so. Raises `UserError` if the
    folder is not empty.
    """
    with new_folder(models, target, "float32") as folder:
        weights.save({name: t.clone() for name, t in state.items()}, folder / WEIGHTS)  # tied ones


@contextmanager
def new_folder(models: Models, target: Path, kind: str | None = None) -> Iterator[Path]:
    """Yield a temporary folder with the files of the first model's folder other than its weights.

    On success it becomes `target`. If `kind` is given, the config's dtype is set to it. Raises
    `UserError` if `target` is not empty.
    """
    refuse_filled(target)
    source = next(iter(models.folders.values()), None)  # modules have no folder
    scratch = target.with_name(f".{target.name}.partial")
    try:
        with whole_folder(target, scratch) as folder:
            for file in sorted(source.iterdir()) if source and source.is_dir() else ():
                kept = file.suffix in (".json", ".txt", ".model", ".jinja")
                if file.is_file() and kept and not file.name.endswith(OF_ONE):
                    shutil.copy(file, folder / file.name)
            if (file := folder / "config.json").is_file():
                config = json.loads(file.read_text())
                known = (models.config or {}).items()
                config |= {k: v for k, v in known if k in config or k in NAMES}
                kinds = {key: kind for key in ("dtype", "torch_dtype") if kind and key in config}
                file.write_text(json.dumps({**config, **kinds}, indent=2) + "\n")
            yield folder
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def refuse_filled(target: Path) -> None:
    """Raise `UserError` if a path exists and is not an empty folder."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target}: not empty; choose a new folder for the merged model")


def _same(
    folders: Sequence[Path], configs: Sequence[dict[str, Any]], classes: tuple[str, ...] | None
) -> dict[str, Any]:
    """Return the first config, with outputs named `classes`.

    Raises `UserError` if the configs do not describe the same function.
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
    except Exception as error:  # the library may raise anything for a user's config
        raise UserError(f"{folders[0]}: no usable config.json ({short(error)})") from None
    for folder, other in zip(folders[1:], others, strict=True):
        for key in sorted(first.keys() | other.keys(), key=lambda key: (key != "model_type", key)):
            if other.get(key) != first.get(key):
                found = f"{key} is {other.get(key)!s:.150}, in {folders[0]} {first.get(key)!s:.150}"
                same = (
                    "whose outputs are in one order" if key == "id2label" else "of one architecture"
                )
                raise UserError(f"{folder}: {found}; give models {same}")
    return configs[0]


def _config(folder: Path, adapter: Adapter | None) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        states.refuse_parent(folder)
        raise UserError(
            f"{folder}: no folder with a config.json; for a network of your own give "
            "--net FILE.py:function"
        )
    config = checkpoint.read_config(folder)
    if not checkpoint.of_library(config):
        return config
    if adapter and adapter.config.get("task_type") == "SEQ_CLS":
        config = _with_head(folder, config, adapter)
    if not checkpoint.by_library(config):
        known = module("nets", checkpoint.family(config), "from_config").ARCHITECTURE
        kinds = config.get("architectures") or [known]
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if kinds != [known]:
            raise UserError(
                f"{folder}: a {', '.join(map(str, kinds))}; of a {checkpoint.family(config)} only "
                f"{known} is supported, or give --net FILE.py:function"
            )
    return config


def _with_head(folder: Path, config: dict[str, Any], adapter: Adapter) -> dict[str, Any]:
    """Return a classifier's config for an encoder whose adapter includes the head."""
    if any("ForSequenceClassification" in str(name) for name in config.get("architectures") or ()):
        return config
    if (count := adapters.outputs(adapter)) is None:
        raise UserError(f"{adapter.folder}: neither it nor its base {folder} has a classifier")
    names = [f"LABEL_{k}" for k in range(count)]
    net = checkpoint.classifier(folder, names)
    there = states.read(states.files(folder))
    prefix = f"{net.base_model_prefix}."
    like = net.state_dict()
    found = weights.in_common(there, like, prefix, folder, "give another base")
    saved = {n.removeprefix(adapters.PREFIX) for n in states.shapes(adapter.files[1:])}
    lacks = {n: t for n, t in like.items() if n not in found and n not in saved}
    if lacks:
        raise UserError(f"{folder}: it lacks {weights.listed(lacks)}, and so does the adapter")
    labels = {"id2label": {str(k): name for k, name in enumerate(names)}}
    labels |= {"label2id": {name: k for k, name in enumerate(names)}}
    kind = next(k.__name__ for k in type(net).__mro__ if "ForSequence" in k.__name__)
    return {**config, **labels, "architectures": [kind]}
