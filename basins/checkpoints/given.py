"""Networks and data given as Python objects: modules, state dicts, loaders, tensors, datasets."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel
from torch.utils._pytree import tree_leaves, tree_map

from basins import weights
from basins.checkpoints import columns, examples, files, labels, models, pictures, states
from basins.checkpoints.examples import Task
from basins.checkpoints.forms import TARGETS, Batches, Data, Form, Rollouts, is_batch
from basins.checkpoints.measure import Bench
from basins.checkpoints.models import Models
from basins.checkpoints.objectives import Function, objective
from basins.checkpoints.outputs import confirm
from basins.checkpoints.states import short
from basins.data import text
from basins.errors import UserError
from basins.nets import checkpoint
from basins.nets.outputs import logits_of
from basins.weights import State

Model = nn.Module | Mapping[str, Tensor] | str | Path


WRAPPERS = nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel

READ = ("net", "labels", "loss", "metrics", "train", "eval_sets", "truncate")
"""The options that determine how networks and data are read."""


def bench(recipe: Mapping[str, Any], device: torch.device) -> Bench:
    """Return networks and data on the device.

    Args:
        recipe: `networks` by name, `base`, `net`, `labels`, `stream`, and the arguments of `task`,
            by their names in `interface`.
        device: where they are put.

    Raises:
        UserError: they are not readable, or not compatible.
    """
    named = {name: _bare(model) for name, model in recipe["networks"].items()}
    net, base = _bare(recipe["net"]), _bare(recipe["base"])
    if recipe["stream"]:
        read = frame(named, net, device)
    else:
        read = networks(named, net, recipe["labels"], device)
    if base is not None and isinstance(base, str | Path):
        path = Path(base)
        start, digest = models.base_state(path, read), states.digest(states.files(path))
        read = replace(read, base=start, base_hash=digest)
    elif base is not None:
        start = _state("base", base, read.net, device)
        read = replace(read, base=start, base_hash=_hash(start))
    if read.states:  # what is not mixed is then theirs, not that of `net`
        read.net.load_state_dict(next(iter(read.states.values())))
    options = {name: recipe[name] for name in READ if name not in ("net", "labels")}
    found = task(read, recipe["data"], device=device, **options)
    for name, model in named.items():
        if isinstance(model, nn.Module):
            confirm(read, found, name, _copied(model, device))
    return Bench(read, found)


def networks(
    given: Mapping[str, Model],
    net: nn.Module | str | None,
    classes: Sequence[str] | None,
    device: torch.device,
) -> Models:
    """Return copies of networks, in float32, from modules, state dicts or paths.

    Args:
        given: by id: a module; a state dict or the path of one, whose network is `net`; or the
            folder of a model of this project or of Hugging Face.
        net: the network for state dicts: a module, or a value of the command line's `--net`.
        classes: the names of the outputs, if configs do not state them.
        device: where they are put.

    Raises:
        UserError: architectures differ, a module cannot be copied, or `net` is missing.
    """
    names = None if classes is None else tuple(classes)
    paths = {name: Path(m) for name, m in given.items() if isinstance(m, str | Path)}
    if len(paths) == len(given) and not isinstance(net, nn.Module):
        return models.read(paths, net, device, names)
    for name, model in given.items():
        if not isinstance(model, str | Path | nn.Module | Mapping):
            what = f"{type(model).__name__}; give a module, a state dict or a path"
            raise UserError(f"{name}: {what}")
        if isinstance(model, nn.Module) and any(map(is_lazy, model.parameters())):
            raise UserError(f"{name}: it has lazy parameters; call it once on a batch of inputs")
    first = next((m for m in given.values() if isinstance(m, nn.Module)), None)
    if first is None and net is None:
        raise UserError("weights without a network; give it as net=")
    made = models.build(net) if isinstance(net, str) else (first if net is None else net)
    assert made is not None
    made = _copied(made, device)
    found = {name: _state(name, model, made, device) for name, model in given.items()}
    hashes = {n: _hash(state) for n, state in found.items()}
    hashes |= {n: states.digest(states.files(path)) for n, path in paths.items()}
    return Models(found, hashes, paths, made, None, names)


def frame(given: Mapping[str, Model], net: nn.Module | str | None, device: torch.device) -> Models:
    """Return one network for streaming weights from paths, without reading the weights.

    On the device `meta` the network itself uses no memory either.
    """
    paths = {name: Path(m) for name, m in given.items() if isinstance(m, str | Path)}
    if len(paths) < len(given):
        raise UserError("stream=True: give all networks as paths of safetensors")
    empty = device.type == "meta"
    first = None
    with torch.device("meta") if empty else nullcontext():
        if net is None:
            first, *others = (checkpoint.read_config(path) for path in paths.values())
            if any(checkpoint.function(first) != checkpoint.function(other) for other in others):
                raise UserError(
                    f"{' and '.join(map(str, paths.values()))}: their config.json differ"
                )
            where = next(iter(paths.values()))
            shapes = {} if empty else states.shapes(states.files(where))
            made = checkpoint.initialise(first) if empty else checkpoint.described(where, shapes)
        else:
            made = models.build(net) if isinstance(net, str) else copy.deepcopy(_bare(net))
    made = made.float().eval()
    made = made if empty else made.to(device)  # which would separate tied weights
    hashes = {name: states.digest(states.files(path)) for name, path in paths.items()}
    return Models({}, hashes, paths, made, first, None)


def _bare(model: Any) -> Any:
    """Return a network without its wrapper, if it is compiled, parallel or averaged."""
    if isinstance(model, WRAPPERS):
        return _bare(model.module)
    compiled = isinstance(model, nn.Module) and hasattr(model, "_orig_mod")
    return _bare(model._orig_mod) if compiled else model


def _copied(net: nn.Module, device: torch.device) -> nn.Module:
    """Return a copy of a network in float32, in evaluation mode."""
    try:
        return copy.deepcopy(net).float().to(device).eval()
    except Exception as error:  # torch cannot copy weights computed from other weights
        line = f"{type(net).__name__} cannot be copied ({short(error)})"
        if any(map(prune.is_pruned, net.children())) or prune.is_pruned(net):
            line += "; make its pruning permanent by torch.nn.utils.prune.remove"
        raise UserError(line) from None


def _state(name: str, model: Model, frame: nn.Module, device: torch.device) -> State:
    if isinstance(model, str | Path):
        files = states.files(Path(model))
        found, where = states.read(files), files[0]
    else:
        given = model.state_dict() if isinstance(model, nn.Module) else model
        found, where = states.tensors(given, name), Path(name)
        weights.check_finite(found, where)
    found, like = states.fitting(found, frame, where), frame.state_dict()
    return {n: found[n].detach().to(device, like[n].dtype, copy=True) for n in like}


def _hash(state: State) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def task(
    read: Models,
    data: Data,
    *,
    loss: str | Function,
    metrics: Mapping[str, Function] | None,
    train: Data | None,
    eval_sets: Sequence[str] | None,
    truncate: bool,
    device: torch.device,
) -> Task:
    """Return the evaluation sets.

    Args:
        read: the networks.
        data: a set, or several by name. A set is a `DataLoader` or other iterable of batches, a
            tuple of tensors (inputs, targets), a `datasets.Dataset` or its path, or a function from
            the network to losses [n].
        loss: a name, or a function; see `objectives`.
        metrics: additional metrics, by name.
        train: training rows, in any form of a set, or None.
        eval_sets: the splits to evaluate; None means all that are not for training.
        truncate: whether text with more tokens than the networks accept is truncated.
        device: where batches are put.

    Raises:
        UserError: a set is empty or of an unknown form, or the networks do not accept it.
    """
    measured = objective(loss, metrics)
    source, where = data, str(data) if isinstance(data, str | Path) else "data"
    if (splits := _splits(data, eval_sets)) is not None:
        if train is not None:
            splits["train"] = next(iter((_splits(train, None) or {"train": train}).values()))
        if measured is None and _as_ours(splits, read):
            wanted = list(eval_sets) if eval_sets else None
            return examples.read(where, splits, wanted, read, device, truncate)
        train = splits.get("train")
        names = [*(eval_sets or (name for name in splits if name not in examples.TRAINING))]
        if missing := [name for name in names or ["but train"] if name not in splits]:
            raise UserError(f"{where}: no split {missing[0]!r}; there are: {', '.join(splits)}")
        data = {name: splits[name] for name in names}
    if measured is None:
        examples.of_classes(read)
    sets = {"data": data}
    if isinstance(data, Mapping) and not is_batch(data):
        sets = {str(name): one for name, one in data.items()}
    if not sets:
        raise UserError(f"{where}: no sets; give one or more by name")
    form = Form(read, measured, truncate, device, where, train)
    made = {name: form.set(name, one) for name, one in sets.items()}
    how = "a split `train`" if isinstance(source, str | Path) else "train="
    why = f"{where}: this takes training rows: give them as {how}"

    def draw() -> Any:
        return examples.Missing(why) if train is None else form.set("train", train)

    names = tuple(measured.metrics) if measured is not None else ()
    scored = {n: names for n in made if measured is not None}
    scored |= {n: () for n, one in made.items() if isinstance(one, Rollouts)}
    binary = {}
    for name, one in made.items():
        outputs = _try(read, one, name) if isinstance(one, Batches) else 0
        binary[name] = _binary(one) if outputs == 2 else None
    sets: Any = made  # sets of the engine's types, or Rollouts, which evaluate a network themselves
    return Task(sets, binary, read, draw, metrics=scored)


def identity(found: Task) -> str:
    """Return a hash of the evaluation sets."""
    return hashed([*found.sets.items(), *(s for own in found.own.values() for s in own.items())])


def hashed(sets: Iterable[tuple[str, Any]]) -> str:
    """Return a hash of sets and their names; a function is identified by its name."""
    digest = hashlib.sha256()
    for name, one in sets:
        digest.update(name.encode())
        if isinstance(one, Rollouts):
            digest.update(getattr(one.function, "__qualname__", "").encode())
            continue
        for leaf in tree_leaves([[*one.batches()], one.merge]):
            if isinstance(leaf, Tensor):
                digest.update(_bytes(leaf))
    return digest.hexdigest()


def files_identity(data: Any) -> Any:
    """Replace paths in `data` by hashes of their files."""
    if isinstance(data, Mapping):
        return {str(name): files_identity(one) for name, one in data.items()}
    return files.identity(data) if isinstance(data, str | Path) else data


def _splits(data: Data, names: Sequence[str] | None) -> dict[str, Any] | None:
    """Return the splits of a path or of datasets, by name; None for other data."""
    if isinstance(data, str | Path):
        return dict(files.splits(data))
    if isinstance(data, pd.DataFrame):
        data = Dataset.from_pandas(data, preserve_index=False)
    if isinstance(data, Dataset):
        return {"data": data}
    kinds = str, Path, Dataset, pd.DataFrame
    if isinstance(data, Mapping) and data and all(isinstance(v, kinds) for v in data.values()):
        one = {name: _splits(split, None) or {} for name, split in data.items()}
        return {str(name): next(iter(found.values())) for name, found in one.items()}
    if names:
        raise UserError("eval_sets: they are names of splits, of a path or of datasets")
    return None


def _as_ours(splits: Mapping[str, Any], read: Models) -> bool:
    """Return whether `examples.read` reads the splits: labelled sentences or images."""
    if any(columns.transformed(split) for split in splits.values()):
        return False
    names = columns.seen(next(iter(splits.values()))).column_names
    if "input_ids" in names and not any({*fields} <= {*names} for fields in text.FIELDS):
        return False
    if not any(name in names for name in labels.COLUMNS) and "text" in names:
        return False
    plain = read.config is None and not any(name in names for name in pictures.COLUMNS)
    return not (plain and any(name in names for name in TARGETS))


def _binary(data: Any) -> np.ndarray | None:
    """Return a set's labels, bool [n], for a network with two outputs; None if not 1-D integers."""
    labels = [targets for _, targets in data.parts]
    if not all(isinstance(t, Tensor) and t.ndim == 1 and not t.is_floating_point() for t in labels):
        return None
    return torch.cat(labels).cpu().numpy().astype(bool)


@torch.inference_mode()
def _try(read: Models, data: Batches, name: str) -> int:
    """Return the number of a classifier's classes, or 0 for other networks.

    Raises a one-line `UserError` if the network does not accept the first batch.
    """
    inputs, targets = data.parts[0]
    try:
        output = read.net(**inputs) if isinstance(inputs, Mapping) else read.net(*inputs)
    except Exception as error:  # a user's network may raise anything
        shapes = tree_map(lambda x: list(x.shape) if isinstance(x, Tensor) else x, inputs)
        line = f"the network does not take {shapes!s:.120}: {short(error)}"
        raise UserError(f"{name}: {line}") from None
    if data.objective is None:
        logits = logits_of(output)
        return logits.shape[1] if isinstance(logits, Tensor) and logits.ndim == 2 else 0
    try:
        data.objective(output, targets)
        return 0
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    except Exception as error:  # a user's loss may raise anything
        line = f"the loss does not take output and targets: {type(error).__name__}"
        raise UserError(f"{name}: {line}: {short(error)}") from None
