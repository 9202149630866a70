"""Networks and batches as Python has them: modules, state dicts, loaders, tensors, datasets."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from basins import weights
from basins.checkpoints import examples, files, models
from basins.checkpoints.examples import Task
from basins.checkpoints.models import Models, short
from basins.checkpoints.objectives import IGNORED, Function, Objective, objective
from basins.data.images import Evaluation
from basins.errors import UserError
from basins.nets import checkpoint
from basins.weights import State

Model = nn.Module | Mapping[str, Tensor] | str | Path
Data = Any
"""A loader, tensors, a dataset or its path, a function of the network, or several by name."""

TARGETS = ("labels", "label", "targets", "target")
BATCH = 256  # examples at once, of tensors and datasets
BLOCK = 128  # tokens of a row, of a text that is cut into rows


@dataclass(frozen=True)
class Batches:
    """Batches on the device, the same at every point, with what they are measured by."""

    parts: list[tuple[Any, Any]]
    objective: Objective | None
    order: None = None
    merge: None = None

    def batches(self) -> Iterator[tuple[Any, Any]]:
        """Yield a network's inputs, by position or by name, and the targets."""
        return iter(self.parts)


@dataclass(frozen=True)
class Rollouts:
    """What measures a network by itself, such as episodes of an agent."""

    function: Callable[[Any], Any]

    def measured(self, net: Callable[..., Any]) -> Evaluation:
        """Return its losses [n]; raises `UserError` where they are not one number each."""
        found = np.asarray(torch.as_tensor(self.function(net)).detach().cpu(), np.float32)
        if found.ndim != 1 or not len(found):
            raise UserError(f"data: the function returns {list(found.shape)}, not losses [n]")
        return Evaluation(found, np.zeros((len(found), 0), np.float32))


def networks(
    given: Mapping[str, Model], net: nn.Module | str | None, device: torch.device
) -> Models:
    """Return networks by their ids, of modules, state dicts or paths; copies, in float32.

    Args:
        given: by id: a module; a state dict or the path of one, whose network is `net`; or the
            folder of a model of this project or of Hugging Face.
        net: the network of weights alone: a module, or what `--net` of the command line takes.
        device: where they are put.

    Raises:
        UserError: they are not of one architecture, a module cannot be copied, or weights have no
            network.
    """
    named = {
        name if re.fullmatch(r".+/seed\d+", name) else f"{name}/seed0": m
        for name, m in given.items()
    }
    if all(isinstance(model, str | Path) for model in named.values()) and net is None:
        return models.read([f"{name}={path}" for name, path in named.items()], None, device)
    first = next((m for m in named.values() if isinstance(m, nn.Module)), None)
    if first is None and net is None:
        raise UserError("weights without a network; give it as net=")
    frame = models.build(net) if isinstance(net, str) else (first if net is None else net)
    assert frame is not None
    try:
        frame = copy.deepcopy(frame).float().to(device).eval()
    except Exception as error:  # torch copies no weights that are computed from others
        raise UserError(f"{type(frame).__name__} cannot be copied ({short(error)})") from None
    states = {name: _state(name, model, frame, device) for name, model in named.items()}
    hashes = {name: _hash(state) for name, state in states.items()}
    paths = {n: Path(m) for n, m in named.items() if isinstance(m, str | Path)}
    return Models(states, hashes, paths, frame, None, None)


def frame(paths: dict[str, Path], net: nn.Module | str | None, device: torch.device) -> Models:
    """Return one network for the weights at paths, none of which are read but a folder's own."""
    if net is None:
        first, *others = (checkpoint.read_config(path) for path in paths.values())
        if any(checkpoint.function(first) != checkpoint.function(other) for other in others):
            raise UserError(f"{' and '.join(map(str, paths.values()))}: their config.json differ")
        made = checkpoint.load(next(iter(paths.values())))
    else:
        first, made = None, models.build(net) if isinstance(net, str) else copy.deepcopy(net)
    made = made.float().to(device).eval()
    return Models({}, models.hashed(paths), paths, made, first, None)


def _state(name: str, model: Model, frame: nn.Module, device: torch.device) -> State:
    if isinstance(model, str | Path):
        found = models.state(Path(model), frame)
    else:
        found = dict(model.state_dict() if isinstance(model, nn.Module) else model)
        found = weights.conformed(found, frame, name)
        if wrong := weights.misfit(found, frame.state_dict(), types=True):
            raise UserError(f"{name}: not of the architecture of {type(frame).__name__}: {wrong}")
        weights.check_finite(found, Path(name))
    like = frame.state_dict()
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
    device: torch.device,
) -> Task:
    """Return what networks are measured on.

    Args:
        read: the networks.
        data: a set, or several by name. A set is a `DataLoader` or other iterable of batches, a
            tuple of tensors (inputs, targets), a `datasets.Dataset` or its path, or a function from
            the network to losses [n].
        loss: a name, or a function; see `objectives`.
        metrics: beside the loss, by name.
        train: training rows, in any form of a set, or None.
        device: where batches are put.

    Raises:
        UserError: a set is empty, or of another form, or the networks do not take it.
    """
    measured = objective(loss, metrics)
    if measured is None and (splits := _splits(data, read)) is not None:
        if train is not None:
            more = _splits(train, read) or {}
            splits = {**splits, **({"train": next(iter(more.values()))} if more else {})}
        where = str(data) if isinstance(data, str | Path) else "data"
        return examples.read(where, splits, None, read, device)
    several = isinstance(data, Mapping) and not _is_batch(data)
    sets = {str(k): v for k, v in data.items()} if several else {"data": data}
    made = {name: _set(name, one, measured, read, device) for name, one in sets.items()}
    why = "this takes training rows: give them as train="

    def draw() -> Any:
        if train is None:
            return examples.Missing(why)
        return _set("train", train, measured, read, device)

    names = tuple(measured.metrics) if measured is not None else ()
    scored = {n: names for n in made if measured is not None}
    scored |= {n: () for n, one in made.items() if isinstance(one, Rollouts)}
    binary = {}
    for name, one in made.items():
        outputs = _try(read, one, name) if isinstance(one, Batches) else 0
        binary[name] = _binary(one) if outputs == 2 else None
    sets: Any = made  # of the engine's own kinds, or Rollouts, which measure themselves
    return Task(sets, binary, read, draw, metrics=scored)


def identity(found: Task) -> str:
    """Return a hash of what is measured on; a function stands for itself by its name."""
    digest = hashlib.sha256()
    for name, one in found.sets.items():
        digest.update(name.encode())
        if isinstance(one, Rollouts):
            digest.update(getattr(one.function, "__qualname__", "").encode())
            continue
        for leaf in tree_leaves(list(one.batches())):
            if isinstance(leaf, Tensor):
                digest.update(_bytes(leaf))
    return digest.hexdigest()


def _splits(data: Data, read: Models) -> dict[str, Dataset] | None:
    """Return splits that are measured as on the command line: of sentences, images and labels."""
    if isinstance(data, str | Path):
        return files.splits(data)
    if isinstance(data, Dataset):
        data = {"data": data}
    several = isinstance(data, Mapping) and all(isinstance(v, Dataset) for v in data.values())
    if not several or not data:
        return None
    columns = next(iter(data.values())).column_names
    ours = read.text or any(name in columns for name in examples.IMAGES)
    return {str(name): split for name, split in data.items()} if ours else None


def _set(
    name: str, data: Data, measured: Objective | None, read: Models, device: torch.device
) -> Batches | Rollouts:
    if isinstance(data, str | Path):
        data = next(iter(files.splits(data).values()))
    if callable(data) and not hasattr(data, "__iter__"):
        return Rollouts(data)
    if texts := _texts(data, read):
        data = _blocks(name, texts, read)
    elif isinstance(data, Dataset):
        data = data.with_format("torch").iter(BATCH)
    elif _is_batch(data):
        data = _cut(data)
    if not isinstance(data, Iterable):
        raise UserError(f"{name}: {type(data).__name__}; give a loader, tensors or a dataset")
    parts = []
    for batch in data:
        inputs, targets = _parted(name, batch)
        moved = tree_map(lambda x: x.to(device) if isinstance(x, Tensor) else x, (inputs, targets))
        parts.append(moved)
    if not parts:
        raise UserError(f"{name}: no batches; a generator is empty after its first use")
    return Batches(parts, measured)


def _is_batch(data: Any) -> bool:
    """Return whether data are tensors themselves: (inputs, targets), or columns by name."""
    if isinstance(data, Mapping):
        return bool(data) and all(isinstance(v, Tensor | np.ndarray) for v in data.values())
    pair = isinstance(data, tuple) and len(data) == 2
    return pair and all(isinstance(x, Tensor | np.ndarray) for x in tree_leaves(data))


def _cut(data: Any) -> Iterator[Any]:
    tensors = tree_map(torch.as_tensor, data)
    counts = {len(x) for x in tree_leaves(tensors)}
    if len(counts) != 1:
        raise UserError(f"tensors of {' and '.join(map(str, sorted(counts)))} rows; give as many")
    for start in range(0, counts.pop(), BATCH):
        yield tree_map(lambda x, start=start: x[start : start + BATCH], tensors)


def _parted(name: str, batch: Any) -> tuple[Any, Any]:
    """Return a batch's inputs, by position or by name, and its targets."""
    if isinstance(batch, Mapping):
        key = next((key for key in TARGETS if key in batch), None)
        inputs = {k: v for k, v in batch.items() if k != key and isinstance(v, Tensor)}
        if key is not None:
            targets = batch[key]
        elif "input_ids" in inputs:  # a language model's targets are what it reads
            real = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])) != 0
            targets = inputs["input_ids"].masked_fill(~real, IGNORED)
        else:
            targets = None
        return (tuple(inputs.values()) if len(inputs) == 1 else inputs), targets
    if isinstance(batch, Tensor):
        return (batch,), None
    if isinstance(batch, Sequence) and len(batch) == 2:
        inputs, targets = batch
        if isinstance(inputs, Mapping):
            return dict(inputs), targets
        return tuple(inputs) if isinstance(inputs, Sequence) else (inputs,), targets
    what = f"{type(batch).__name__} of {len(batch)}" if hasattr(batch, "__len__") else type(batch)
    raise UserError(f"{name}: a batch is {what}; give (inputs, targets), or columns by name")


def _texts(data: Data, read: Models) -> list[str] | None:
    if not read.text:
        return None
    if isinstance(data, Dataset) and "text" in data.column_names:
        data = data["text"][:]
    plain = isinstance(data, Sequence) and bool(data) and all(isinstance(x, str) for x in data)
    return [*map(str, data)] if plain else None


def _blocks(name: str, texts: list[str], read: Models) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the tokens of texts, one after the other, in rows of one length; what is left is not.

    So every row has as many tokens, and the mean over rows is the loss per token.
    """
    assert read.config is not None
    tokenizer = checkpoint.tokenizer(next(iter(read.folders.values())))
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    ids = [i for row in tokenizer(texts, verbose=False)["input_ids"] for i in [*row, *end]]
    length = min(BLOCK, checkpoint.longest(read.config))
    count = len(ids) // length
    if not count:
        raise UserError(f"{name}: {len(ids)} tokens, fewer than the {length} of one row")
    rows = torch.tensor(ids[: count * length]).view(count, length)
    for part in rows.split(max(1, 4096 // length)):
        yield part, part


def _binary(data: Any) -> np.ndarray | None:
    """Return the labels, bool [n], of a set for a network of two outputs."""
    labels = [targets for _, targets in data.parts]
    if not all(isinstance(t, Tensor) and t.ndim == 1 and not t.is_floating_point() for t in labels):
        return None
    return torch.cat(labels).cpu().numpy().astype(bool)


@torch.inference_mode()
def _try(read: Models, data: Batches, name: str) -> int:
    """Return how many classes a classifier tells apart, 0 of other networks.

    Raises `UserError`, in one line, where the network does not take the first batch.
    """
    inputs, targets = data.parts[0]
    try:
        output = read.net(**inputs) if isinstance(inputs, Mapping) else read.net(*inputs)
    except Exception as error:  # it is not our network: whatever it raises
        shapes = tree_map(lambda x: list(x.shape) if isinstance(x, Tensor) else x, inputs)
        line = f"the network does not take {shapes!s:.120}: {short(error)}"
        raise UserError(f"{name}: {line}") from None
    if data.objective is None:
        logits = getattr(output, "logits", output)
        return logits.shape[1] if isinstance(logits, Tensor) and logits.ndim == 2 else 0
    try:
        data.objective(output, targets)
        return 0
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    except Exception as error:  # someone's own loss
        line = f"the loss does not take output and targets: {type(error).__name__}"
        raise UserError(f"{name}: {line}: {short(error)}") from None
