"""A user's own data, images or sentences: a `datasets.DatasetDict` on disk, or files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import ClassLabel, Dataset
from torch import Tensor
from torch.utils._pytree import tree_leaves

from basins import seeds
from basins.checkpoints import columns, pictures
from basins.checkpoints.models import Models
from basins.checkpoints.states import short
from basins.data import text
from basins.data.classes import key, matched, numbered
from basins.data.images import Split
from basins.data.resident import Resident, resident
from basins.data.sampling import stratified
from basins.data.tokens import encode
from basins.errors import UserError
from basins.nets import checkpoint
from basins.nets.inputs import encoded
from basins.nets.outputs import logits_of
from basins.paths.evaluation import Examples

TRAINING = ("train", "train_c", "counterexamples")
"""Splits that are not evaluated: training rows, those with a cue, and a pool of counterexamples."""

ROWS = 2048
"""The most training rows used for BatchNorm statistics, activations and merges."""

LABELS = ("label", "labels", "fine_label")
MOST = 10**6  # larger numbers are not taken for classes
BESIDE = ("merges.txt", "added_tokens.json", "special_tokens_map.json", "tokenizer_config.json")


class Labels(NamedTuple):
    """The class of every row, int64 [n], -1 if it has none, and the names of the classes.

    `stated` says whether the dataset itself specifies the order of the classes.
    """

    numbers: np.ndarray
    names: tuple[str, ...]
    stated: bool


@dataclass(frozen=True)
class Task:
    """The evaluation sets, by name, on the device, and what belongs to them.

    `labels` are those of sets with two classes, bool [n], and None for other sets. `draw` returns
    the training rows, when they are needed. For models whose tokenizer differs from that of the
    first model, `own` holds the sets as they tokenize them, and `differs` says how they differ.
    `metrics` names the metrics of sets whose `Objective` is not classification.
    """

    sets: dict[str, Examples]
    labels: dict[str, np.ndarray | None]
    models: Models
    draw: Callable[[], Examples]
    own: dict[str, dict[str, Examples]] = field(default_factory=dict)
    differs: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def training(self) -> Examples:
        """Training rows, at most `ROWS` if they come from a dataset."""
        return self.draw()

    def batches(self, what: str) -> Resident | list[Any]:
        """Return training rows as images, or as batches of floating-point inputs.

        Raises `UserError`, naming `what` needs them, if they are text.
        """
        found = self.training
        if isinstance(found, (Resident, Merged)):
            return found if isinstance(found, Resident) else found.resident
        given = [inputs for inputs, _ in found.batches()]
        if not all(t.is_floating_point() for t in tree_leaves(given[0]) if isinstance(t, Tensor)):
            raise UserError(f"{what} takes images, and the data are text; choose another")
        return given

    def joined(self) -> None:
        """Raise `UserError` if the models cannot be mixed because their tokenizers differ."""
        for name, said in self.differs.items():
            raise UserError(
                f"{name}: {said}; a row of one embedding is another token's in the other, so their "
                "weights cannot be mixed, only probed"
            )


@dataclass(frozen=True)
class Missing:
    """Missing training rows: only what needs them fails."""

    why: str
    order: None = None
    merge: None = None

    def batches(self) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
        """Raise `UserError`."""
        raise UserError(self.why)


@dataclass(frozen=True)
class Merged:
    """Images for which several of a network's classes count as one; see `Examples`."""

    resident: Resident
    merge: Tensor
    order: None = None

    def batches(self) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
        """Yield a network's inputs and the labels, batch after batch."""
        return self.resident.batches()


def read(
    data: Path | str,
    splits: Mapping[str, Dataset],
    names: list[str] | None,
    models: Models,
    device: torch.device,
    truncate: bool = False,
) -> Task:
    """Put evaluation sets of a dataset on the device.

    Rows without a label are left out, and a warning says how many.

    Args:
        data: the dataset's name in messages, and the folder its images may be memory-mapped from.
        splits: the dataset's splits, by name.
        names: the splits to use; None means all that have labels and are not for training.
        models: the networks to be evaluated.
        device: where the sets are put.
        truncate: whether text with more tokens than the networks accept is truncated.

    Raises:
        UserError: a split or a column is missing, or the networks do not accept the data.
    """
    if names and (missing := [name for name in names if name not in splits]):
        raise UserError(f"{data}: no split {missing[0]!r}; there are: {', '.join(splits)}")
    if lost := [name for name, split in splits.items() if columns.transformed(split)]:
        line = "it has a transform, which would not be applied; give a DataLoader of it"
        raise UserError(f"{data}, {lost[0]}: {line}")
    of_classes(models)
    splits = {name: columns.seen(split) for name, split in splits.items()}
    looked = {"train", *names} & splits.keys() if names else splits
    known = {name: labels(splits[name], f"{data}, {name}") for name in looked}
    chosen = names or [n for n in splits if n not in TRAINING and known[n] is not None]
    if not chosen:
        found = ", ".join(f"{name} ({', '.join(s.column_names)})" for name, s in splits.items())
        raise UserError(f"{data}: no labelled split to evaluate on; it has: {found:.300}")
    config = {**(models.config or {}), **({"long_rows": "truncate"} if truncate else {})}
    order = None if models.text else _order(models, known, chosen)
    different = tokenizers(models) if models.text else {}
    sets: dict[str, Examples] = {}
    binary: dict[str, np.ndarray | None] = {}
    own: dict[str, dict[str, Examples]] = {}
    differs: dict[str, str] = {}
    for name in chosen:
        where, split, found = f"{data}, {name}", splits[name], known[name]
        if found is None:
            raise UserError(f"{where}: no column `label` that has a class for any row")
        rows = _labelled(found, where)
        if models.text:
            folder = next(iter(models.folders.values()))
            sets[name] = _text(split, found, rows, folder, config, device, where)
            for model, other in different.items():
                if said := differently(split, rows, folder, other):
                    differs.setdefault(model, f"{where}, {said}")
                if model in differs or said:
                    found_there = _text(split, found, rows, other, config, device, where)
                    own.setdefault(model, {})[name] = found_there
        else:
            given = pictures.images(data, name, split, where, models)
            given = given if len(rows) == len(split) else given[rows]
            sets[name] = _resident(given, found, rows, order, device, where)
        two = len(found.names) == 2
        binary[name] = found.numbers[rows].astype(bool) if two else None
        _try(models, sets[name], where)
    for model, read_by in own.items():
        own[model] = {name: read_by.get(name, sets[name]) for name in sets}

    def draw() -> Examples:
        """Return at most `ROWS` training rows, stratified by class."""
        where = f"{data}, train"
        if "train" not in splits:
            return Missing(f"{data}: no split 'train' for it; there are: {', '.join(splits)}")
        split = splits["train"]
        found = labels(split, where)
        if found is None:
            raise UserError(f"{where}: no row has a label; give training rows with classes")
        kept = _labelled(found, where)
        stream = seeds.derive("merging" if models.text else "calibration") % 2**32
        rows = kept[stratified(found.numbers[kept], min(len(kept), ROWS), stream)]
        if models.text:
            folder = next(iter(models.folders.values()))
            return _text(split, found, rows, folder, config, device, where)
        given = pictures.images(data, "train", split, where, models)[rows]
        return _resident(given, found, rows, order, device, where)

    return Task(sets, binary, models, draw, own, differs)


def of_classes(models: Models) -> None:
    """Raise `UserError` if a config says that the networks are not single-label classifiers."""
    config = models.config or {}
    if models.classes is not None or not checkpoint.of_library(config):
        return
    kind, count = config.get("problem_type"), len(checkpoint.classes(config))
    causal = any(
        "Causal" in str(k) or "LMHead" in str(k) for k in config.get("architectures") or ()
    )
    if kind == "multi_label_classification" or count == 1 or causal:
        what = "several labels for a row" if count > 1 else "one output"
        said = ("tokens", "language") if causal else (what, "multilabel, regression or binary")
        where = next(iter(models.folders.values()))
        raise UserError(f"{where}: {said[0]}, and no classes; say --loss {said[1]}")


def labels(split: Dataset, where: str, among: Sequence[str] = LABELS) -> Labels | None:
    """Return the classes of a split's rows, or None if no row has one (GLUE's test sets have -1).

    They are in the first column there is `among` these: names (`ClassLabel`, or strings) or
    integers. If all names are integers, they are the numbers of the classes, whatever the order of
    the names.
    """
    column = next((name for name in among if name in split.features), None)
    if column is None or not len(split):
        return None
    rows = split.select_columns([column]).with_format("arrow")[:]  # `split.data` ignores `select`
    values = [None if v == "" else v for v in rows[column].to_pylist()]
    feature, there = split.features[column], [value for value in values if value is not None]
    names: Sequence[str] = ()
    if isinstance(feature, ClassLabel):
        names = feature.names
    elif there and all(isinstance(value, str) for value in there):
        names = sorted(set(there))
        number = {name: k for k, name in enumerate(names)}
        values = [None if value is None else number[value] for value in values]
    elif not all(isinstance(v, (int, float)) and v == v // 1 for v in there):
        line = "for numbers say --loss regression, for several labels of a row --loss multilabel"
        raise UserError(f"{where}: {column!r} has values that are no classes; {line}")
    whole = [-1 if value is None else min(max(int(value), -1), MOST) for value in values]
    numbers = np.array(whole, np.int64)
    if (largest := int(numbers.max())) < 0:
        return None
    if names and not numbered(names):
        return Labels(numbers, tuple(names), isinstance(feature, ClassLabel))
    if names:
        own = np.array([int(key(name)) if len(key(name)) < 7 else MOST for name in names])
        numbers, largest = np.where(numbers < 0, -1, own[numbers]), int(own.max())
    if largest >= MOST:
        raise UserError(
            f"{where}: {column!r} has numbers of {MOST:,} and more, which are no classes"
        )
    return Labels(numbers, tuple(map(str, range(largest + 1))), True)


def _labelled(found: Labels, where: str) -> np.ndarray:
    """Return the indices of rows that have a class; a warning counts the others."""
    rows = np.flatnonzero(found.numbers >= 0)
    if gone := len(found.numbers) - len(rows):
        warnings.warn(
            f"{where}: {gone} of {len(found.numbers)} rows have no label and are left out",
            stacklevel=2,
        )
    return rows


def _order(
    models: Models, known: Mapping[str, Labels | None], chosen: Sequence[str]
) -> tuple[str, ...] | None:
    """Return the names of an image network's outputs, or None if they are only numbers.

    They are given by the option, or else by Hugging Face's config. If neither has names, they are
    the classes of `train`, which the network was trained on, or of the first evaluation set.
    """
    if models.classes is not None:
        return models.classes
    named = [known.get(name) for name in ("train", *chosen)]
    if models.config is not None and checkpoint.of_library(models.config):
        order = checkpoint.classes(models.config)
        if not numbered(order):
            return order if any(found and not numbered(found.names) for found in named) else None
    for found in named:
        if found is not None and not found.stated:
            raise UserError(
                f"labels are texts ({', '.join(found.names)[:200]}), and which output of the "
                "network is which is not known: say so by `--labels NAME=NUMBER,...`"
            )
    return next((found.names for found in named if found and not numbered(found.names)), None)


def _resident(
    images: np.ndarray,
    found: Labels,
    rows: np.ndarray,
    order: tuple[str, ...] | None,
    device: torch.device,
    where: str,
) -> Resident | Merged:
    """Put images on the device, with classes numbered as the outputs named in `order`."""
    numbers, merge = _numbered(found, rows, order, where)
    there = resident(Split(images, numbers), device)
    return there if merge is None else Merged(there, merge.to(device))


def _numbered(
    found: Labels, rows: np.ndarray, order: Sequence[str] | None, where: str
) -> tuple[np.ndarray, Tensor | None]:
    """Return the classes of rows, numbered as the outputs named in `order`, and what is merged."""
    if order is None:
        return found.numbers[rows], None
    numbers, merge = matched(order, found.names, where)
    return np.array(numbers)[found.numbers[rows]], None if merge is None else torch.tensor(merge)


def classes(
    models: Models, split: Dataset, column: str, where: str
) -> tuple[np.ndarray, Tensor, Tensor | None]:
    """Return the rows that have a class in a column, their outputs' numbers, and what is merged.

    A warning counts the other rows. Raises `UserError` if there is none, or classes do not match.
    """
    if (found := labels(split, where, (column,))) is None:
        raise UserError(f"{where}: no row has a class in the column {column!r}")
    own = checkpoint.classes(models.config or {}) if models.text else None
    order, rows = own or _order(models, {where: found}, [where]), _labelled(found, where)
    numbers, merge = _numbered(found, rows, order, where)
    return rows, torch.from_numpy(numbers), merge


def _text(
    split: Dataset,
    found: Labels,
    rows: np.ndarray,
    folder: Path,
    config: dict[str, Any],
    device: torch.device,
    where: str,
) -> Examples:
    columns = sentences(split, rows)
    columns["label"] = [*map(int, found.numbers[rows])]
    tokenizer = checkpoint.tokenizer(folder)
    return encoded(columns, found.names, tokenizer, config, device, where)


def sentences(split: Dataset, rows: np.ndarray) -> text.Columns:
    """Return the sentence columns of the given rows."""
    names = text.fields(dict.fromkeys(split.column_names, []))
    return split.select_columns([*names]).select(rows)[:]


def tokenizers(models: Models) -> dict[str, Path]:
    """Return the folders whose tokenizer files are not identical to those of the first model."""

    def content(folder: Path) -> list[bytes | None]:
        files = [folder / name for name in (*checkpoint.TOKENIZERS, *BESIDE)]
        return [file.read_bytes() if file.is_file() else None for file in files]

    first, *others = models.folders
    one = content(models.folders[first])
    folders = {name: models.folders[name] for name in others}
    return {name: folder for name, folder in folders.items() if content(folder) != one}


def differently(split: Dataset, rows: np.ndarray, folder: Path, other: Path) -> str | None:
    """Describe the first row that the tokenizers in the two folders encode differently, if any."""
    columns = sentences(split, rows)
    read = [encode(columns, checkpoint.tokenizer(place)) for place in (folder, other)]
    for row, (ids, types, ids2, types2) in enumerate(zip(*read[0], *read[1], strict=True)):
        if (ids, types) != (ids2, types2):
            return f"row {rows[row]}: its tokenizer reads {ids2[:8]}, that of {folder} {ids[:8]}"
    return None


@torch.inference_mode()
def _try(models: Models, examples: Examples, where: str) -> None:
    """Raise `UserError` if the network does not accept the first or the last batch."""
    batches = list(examples.batches())
    for given, _ in (batches[0], batches[-1]):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in given if tensor is not None)
        try:
            output = models.net(*given)
        except Exception as error:  # a user's network may raise anything; report it in one line
            line = f"the network does not take {shapes}: {short(error)}"
            raise UserError(f"{where}: {line}") from None
    logits = logits_of(output)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        return  # the engine reports which outputs it accepts
    count, named = logits.shape[1], models.classes
    if named is not None and count != len(named):
        raise UserError(f"--labels names {len(named)} outputs, but the network has {count}")
    largest = max(int(labels.max()) for _, labels in batches)
    if examples.merge is None and count <= largest:
        raise UserError(f"{where}: labels up to {largest}, but the network has {count} classes")
