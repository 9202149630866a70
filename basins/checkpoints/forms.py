"""Evaluation data from Python objects, as batches: loaders, tensors, datasets."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from datasets import Dataset, IterableDataset
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from basins.checkpoints import columns, examples, files, labels, pictures
from basins.checkpoints.models import Models
from basins.checkpoints.objectives import IGNORED, Objective
from basins.checkpoints.states import short
from basins.data.images import Evaluation
from basins.data.resident import normalise
from basins.errors import UserError
from basins.nets import checkpoint

Data = Any
"""A loader, tensors, a dataset or its path, a function of the network, or a dict of these."""

TARGETS = ("labels", "label", "targets", "target")
READ = ("input_ids", "attention_mask", "token_type_ids")  # inputs of a text network
BATCH = 256  # examples per batch, for tensors and datasets
ROWS = 64  # sentences per batch, padded to the longest
BLOCK = 128  # tokens per row, when texts are cut into rows


@dataclass(frozen=True)
class Batches:
    """Batches on the device, copies of what was given, and their objective."""

    parts: list[tuple[Any, Any]]
    objective: Objective | None
    order: None = None
    merge: Tensor | None = None

    def batches(self) -> Iterator[tuple[Any, Any]]:
        """Yield a network's inputs, by position or by name, and the targets.

        Raises `UserError` if one was changed in place, as later points would see other data.
        """
        for part in self.parts:
            _refuse_changed(part)
            yield part
            _refuse_changed(part)


@dataclass(frozen=True)
class Rollouts:
    """A function that evaluates a network itself, for example by episodes of an agent."""

    function: Callable[[Any], Any]

    def measured(self, net: Callable[..., Any]) -> Evaluation:
        """Return its losses [n]; raises `UserError` if they do not have this shape."""
        found = np.asarray(torch.as_tensor(self.function(net)).detach().cpu(), np.float32)
        if found.ndim != 1 or not len(found):
            raise UserError(f"data: the function returns {list(found.shape)}, not losses [n]")
        return Evaluation(found, np.zeros((len(found), 0), np.float32))


@dataclass(frozen=True)
class Form:
    """Converts data to batches that the networks accept, for an objective.

    The columns of tables are in the order of those of `train`, or else of the first set.
    """

    read: Models
    measured: Objective | None
    truncate: bool
    device: torch.device
    where: str
    train: Data | None = None

    def set(self, name: str, data: Data) -> Batches | Rollouts:
        """Return one evaluation set; raises `UserError` if it is empty or of an unknown form."""
        if isinstance(data, str | Path):
            data = next(iter(files.splits(data).values()))
        if callable(data) and not hasattr(data, "__iter__"):
            return Rollouts(data)
        if isinstance(data, pd.DataFrame):
            data = Dataset.from_pandas(data, preserve_index=False)
        merge = None
        if isinstance(data, Dataset) and columns.transformed(data):
            data = self._transformed(name, data)
        elif isinstance(data, Dataset):
            data, merge = self._columns(name, columns.seen(data))
        elif isinstance(data, IterableDataset):
            data = DataLoader(cast(TorchDataset, data.with_format("torch")), BATCH)
        elif self._texts(data):
            data = self._blocks(name, cast(Sequence[str], data))
        elif is_batch(data):
            data = _cut(data)
        elif isinstance(data, TorchDataset):
            data = DataLoader(data, BATCH)
        if not isinstance(data, Iterable):
            raise UserError(f"{name}: {type(data).__name__}; give a loader, tensors or a dataset")
        parts = []
        for batch in data:
            inputs, targets = self._parted(name, batch)
            inputs = _tokens(name, inputs, self.read.config or {}) if self.read.text else inputs
            if self.measured is None:
                targets = _classes(name, targets)
            parts.append(self._kept((tree_map(_single, inputs), targets)))
        if not parts:
            raise UserError(f"{name}: no batches; a generator is empty after its first use")
        return Batches(parts, self.measured, merge=None if merge is None else merge.to(self.device))

    @torch.inference_mode(False)  # inference tensors do not show whether they were changed
    def _kept(self, pair: tuple[Any, Any]) -> tuple[Any, Any]:
        """Return a copy on the device: a loader may refill one buffer for all its batches."""

        def copied(value: Any) -> Any:
            tensor = isinstance(value, Tensor)
            return value.detach().to(self.device, copy=True) if tensor else value

        return tree_map(copied, pair)

    @cached_property
    def _parameters(self) -> dict[str, bool]:
        """The parameters of the networks' `forward`, and whether each is its first positional."""
        try:
            found = [*inspect.signature(self.read.net.forward).parameters.values()]
        except (TypeError, ValueError):  # compiled code may have no signature
            return {}
        both, named = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
        return {p.name: p is found[0] and p.kind is both for p in found if p.kind in (both, named)}

    def _parted(self, name: str, batch: Any) -> tuple[Any, Any]:
        """Return a batch's inputs, by position or by name, and its targets.

        Of columns by name the inputs are the tensors, and what else `forward` has a parameter for.
        A single tensor that it has no parameter for is given by position.
        """
        batch = tree_map(_tensor, dict(batch) if isinstance(batch, Mapping) else batch)
        if isinstance(batch, Mapping):
            known = self._parameters
            key = next((key for key in TARGETS if key in batch), None)
            inputs = {k: x for k, x in batch.items() if isinstance(x, Tensor) or k in known}
            inputs.pop(key, None)
            if key is not None:
                targets = batch[key]
            elif isinstance(ids := inputs.get("input_ids"), Tensor):
                real = inputs.get("attention_mask", torch.ones_like(ids)) != 0
                targets = ids.masked_fill(~real, IGNORED)  # those of a language model
            else:
                targets = None
            alone = len(inputs) == 1 and known.get(next(iter(inputs)), True)
            return (tuple(inputs.values()) if alone else inputs), targets
        if isinstance(batch, Sequence) and len(batch) == 1 and isinstance(batch[0], Tensor):
            [batch] = batch  # from a `TensorDataset` without targets
        if isinstance(batch, Tensor):
            return (batch,), None
        if isinstance(batch, Sequence) and len(batch) == 2:
            inputs, targets = batch
            if isinstance(inputs, Mapping):
                return tree_map(_tensor, dict(inputs)), targets
            return tuple(inputs) if isinstance(inputs, Sequence) else (inputs,), targets
        kind = type(batch).__name__
        what = f"{kind} of {len(batch)}" if hasattr(batch, "__len__") else kind
        raise UserError(f"{name}: a batch is {what}; give (inputs, targets), or columns by name")

    def _transformed(self, name: str, data: Dataset) -> Iterator[Any]:
        """Yield the batches that a dataset's own transform makes of its rows."""
        try:
            yield from DataLoader(cast(TorchDataset, data), BATCH)
        except Exception as error:  # a user's transform may raise anything
            line = f"its transform gives no batches of tensors ({short(error)})"
            raise UserError(f"{self.where}, {name}: {line}; give a DataLoader of it") from None

    def _columns(self, name: str, data: Dataset) -> tuple[Iterator[Any], Tensor | None]:
        """Return a dataset's batches, of sentences, texts, images or columns of numbers.

        Also which of a network's classes are merged (`Examples.merge`), for classification.
        """
        where, names = f"{self.where}, {name}", data.column_names
        label = next((column for column in TARGETS if column in names), None)
        rows, targets, merge = np.arange(len(data)), None, None
        if label is not None and self.measured is None:
            rows, targets, merge = labels.classes(self.read, data, label, where)
            data = data if len(rows) == len(data) else data.select(rows)
        elif label is not None:
            targets = columns.tensors(data.select_columns([label]))[label]
        if any(column in names for column in pictures.COLUMNS):
            return self._images(name, data, targets, where), merge
        if self.read.text and label is None and "text" in names:
            _refuse_gap(data.select_columns(["text"]), rows, where)
            return self._blocks(name, data["text"][:]), merge
        if self.read.text and "input_ids" not in names:
            return self._sentences(data, targets, where), merge
        return self._numbers(data, rows, label, targets, where), merge

    def _images(self, name: str, data: Dataset, targets: Any, where: str) -> Iterator[Any]:
        """Yield images and targets."""
        pixels = torch.from_numpy(pictures.images(self.where, name, data, where, self.read))
        for start in range(0, len(data), BATCH):
            part = slice(start, start + BATCH)
            yield (normalise(pixels[part]),), None if targets is None else targets[part]

    def _numbers(
        self, data: Dataset, rows: np.ndarray, label: str | None, targets: Any, where: str
    ) -> Iterator[Any]:
        """Yield columns of numbers by name, or those of a table as [n, columns], and targets.

        `rows` are the numbers of the rows in messages.
        """
        step = ROWS if self.read.text else BATCH
        for start in range(0, len(data), step):
            part = data.select(range(start, min(len(data), start + step)))
            _refuse_gap(part, rows[start:], where)
            found = columns.tensors(part)
            if label is not None:
                found[label] = targets[start : start + step]
            found = self._padded(found) if self.read.text else found
            if odd := [key for key, x in found.items() if not isinstance(x, Tensor)]:
                line = f"{where}: {odd[0]!r} is no column of numbers, which this network reads"
                raise UserError(f"{line}; leave it out, or give a network that reads it")
            given = {key: x for key, x in found.items() if key != label}
            if given and all(x.ndim == 1 for x in given.values()):  # a table's
                self._order.extend([] if self._order else given)
                if odd := sorted({*self._order} ^ given.keys()):
                    line = f"{where}: the column {odd[0]!r} is only in some of the sets"
                    raise UserError(f"{line}; give all the same columns")
                given = {"columns": torch.stack([given[key].float() for key in self._order], 1)}
            yield given if label is None else {**given, label: found[label]}

    @cached_property
    def _order(self) -> list[str]:
        """The columns of a table in the order in which the networks read them."""
        train = self.train
        if not isinstance(train, Dataset) or columns.transformed(train):
            return []
        names = columns.seen(train).column_names
        label = next((column for column in TARGETS if column in names), None)
        return [name for name in names if name != label]

    def _padded(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Pad rows of tokens of several lengths at the end."""
        ragged = {k: x for k, x in batch.items() if k in READ and isinstance(x, list)}
        if not ragged or not all(isinstance(row, Tensor) for x in ragged.values() for row in x):
            return batch
        if ids := ragged.get(READ[0]):
            ragged.setdefault(READ[1], [torch.ones_like(row) for row in ids])
        tokenizer = checkpoint.tokenizer(next(iter(self.read.folders.values())))
        fill = {READ[0]: cast(int, tokenizer.pad_token_id or 0)}
        return batch | {k: pad_sequence(x, True, fill.get(k, 0)) for k, x in ragged.items()}

    def _sentences(self, data: Dataset, targets: Any, where: str) -> Iterator[Any]:
        """Yield ids, attention mask and types of sentences, padded at the end, and targets."""
        if targets is None:
            raise UserError(f"{where}: no column `label` among {', '.join(data.column_names)}")
        folder, most = next(iter(self.read.folders.values())), 0
        for model, other in examples.tokenizers(self.read).items():
            if said := examples.differently(data, np.arange(len(data)), folder, other):
                raise UserError(f"{model}: {where}, {said}; give models of one tokenizer")
        tokenizer, limit = checkpoint.tokenizer(folder), checkpoint.longest(self.read.config or {})
        for start in range(0, len(data), ROWS):
            part = range(start, min(len(data), start + ROWS))
            fields: dict[str, Any] = {**examples.sentences(data, np.array(part))}
            options: dict[str, Any] = {"truncation": True, "max_length": limit}
            options = options if self.truncate else {}
            found = tokenizer(*fields.values(), padding=True, return_tensors="pt", **options)
            if (most := max(most, found["input_ids"].shape[1])) > limit:
                raise UserError(f"{where}: a row of {most} tokens; networks take {limit}: truncate")
            inputs = (found["input_ids"], _mask(found), found.get("token_type_ids"))
            yield inputs, targets[start : part.stop]

    def _texts(self, data: Data) -> bool:
        several = isinstance(data, Sequence) and not isinstance(data, str) and bool(data)
        return several and self.read.text and all(isinstance(x, str) for x in data)

    def _blocks(self, name: str, texts: Sequence[str]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the tokens of concatenated texts in rows of equal length.

        The remainder is dropped, so that the mean loss over rows is the loss per token.
        """
        assert self.read.config is not None
        whole, folder = [*map(str, texts)], next(iter(self.read.folders.values()))
        ids = _joined(whole, folder)
        for model, other in examples.tokenizers(self.read).items():
            if _joined(whole, other) != ids:
                line = f"its tokenizer reads the texts otherwise than that of {folder}"
                raise UserError(f"{model}: {name}, {line}; give models of one tokenizer")
        length = min(BLOCK, checkpoint.longest(self.read.config))
        count = len(ids) // length
        if not count:
            raise UserError(f"{name}: {len(ids)} tokens, fewer than the {length} of one row")
        rows = torch.tensor(ids[: count * length]).view(count, length)
        for part in rows.split(max(1, 4096 // length)):
            yield part, part


def _joined(texts: Sequence[str], folder: Path) -> list[int]:
    """Return the tokens of texts, concatenated, each followed by the end token if there is one."""
    tokenizer = checkpoint.tokenizer(folder)
    end = [] if tokenizer.eos_token_id is None else [cast(int, tokenizer.eos_token_id)]
    read = cast(list[list[int]], tokenizer([*texts], verbose=False)["input_ids"])
    return [token for row in read for token in (*row, *end)]


def _tokens(name: str, inputs: Any, config: Mapping[str, Any]) -> tuple[Tensor | None, ...]:
    """Return the inputs of a text network from a folder: ids, mask and types, or None for each.

    Raises `UserError` if inputs have other names, or rows are padded at the start.
    """
    if isinstance(inputs, Mapping):
        if inputs.keys() - {*READ} or READ[0] not in inputs:
            line = f"a text network reads {', '.join(READ)}, not {', '.join(inputs)}"
            raise UserError(f"{name}: {line}; rename columns, or leave them out")
        ids, real, types = (inputs.get(column) for column in READ)
        if real is not None and bool((real[:, 1:] > real[:, :-1]).any()):
            raise UserError(f"{name}: rows are padded in front; pad them at the end (padding_side)")
        inputs = ids, None if real is None else _mask({READ[1]: real}), types
    ids, *more = inputs
    mask, types = (*more, None, None)[:2]
    typed = types is not None or checkpoint.by_library(config)
    return ids, mask, types if typed else torch.zeros_like(ids)


def _mask(found: Any) -> Tensor | None:
    """Return the additive attention mask [n, 1, 1, T], or None if nothing is padded."""
    real = found["attention_mask"][:, None, None]
    return None if bool(real.all()) else torch.zeros(real.shape).masked_fill(real == 0, -torch.inf)


def is_batch(data: Any) -> bool:
    """Return whether data are tensors or arrays: (inputs, targets), or columns by name."""
    if isinstance(data, Mapping):
        return bool(data) and all(isinstance(v, Tensor | np.ndarray) for v in data.values())
    pair = isinstance(data, tuple) and len(data) == 2
    return pair and all(isinstance(x, Tensor | np.ndarray) for x in tree_leaves(data))


def _cut(data: Any) -> Iterator[Any]:
    tensors = tree_map(_tensor, data)
    counts = {len(x) for x in tree_leaves(tensors)}
    if len(counts) != 1:
        raise UserError(f"tensors of {' and '.join(map(str, sorted(counts)))} rows; give as many")
    for start in range(0, counts.pop(), BATCH):
        yield tree_map(lambda x, start=start: x[start : start + BATCH], tensors)


def _refuse_gap(data: Dataset, rows: np.ndarray, where: str) -> None:
    """Raise `UserError`, naming the row by its number in `rows`, if a value is missing."""
    if gap := columns.gap(data):
        line = f"row {rows[gap[0]]}: column {gap[1]!r} has no value"
        raise UserError(f"{where}: {line}; fill it in, or leave the row out")


def _refuse_changed(part: tuple[Any, Any]) -> None:
    """Raise `UserError` if a batch that is kept was changed in place."""
    if any(isinstance(x, Tensor) and x._version for x in tree_leaves(part)):
        line = "the network, or the loss, changes a batch in place"
        raise UserError(f"{line}; let it change a copy (x = x.clone())")


def _tensor(value: Any) -> Any:
    """Convert an array of numbers to a tensor; leave others unchanged."""
    numbers = isinstance(value, np.ndarray) and value.dtype.kind in "biufc"
    return torch.from_numpy(value.copy()) if numbers else value


def _single(value: Any) -> Any:
    """Convert a floating-point input to float32, like all networks; leave others unchanged."""
    floating = isinstance(value, Tensor) and value.is_floating_point()
    return value.float() if floating else value


def _classes(name: str, targets: Any) -> Tensor:
    """Return the targets of a batch as a tensor, int64 if they are integers of any type.

    Raises `UserError` if there are none, or they are not numbers.
    """
    try:
        found = torch.as_tensor(targets)
    except (TypeError, ValueError, RuntimeError):
        what = "nothing" if targets is None else f"a {type(targets).__name__} of no numbers"
        line = "cross-entropy takes (inputs, classes), integers [n]; else give a loss"
        raise UserError(f"{name}: the targets of a batch are {what}; {line}") from None
    return found if found.is_floating_point() or found.is_complex() else found.long()
