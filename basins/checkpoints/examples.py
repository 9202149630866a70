"""A user's own data, images or sentences: a `datasets.DatasetDict` on disk, or files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.utils._pytree import tree_leaves

from basins import seeds
from basins.checkpoints import columns, labels, pictures
from basins.checkpoints.labels import Labels
from basins.checkpoints.models import Models
from basins.checkpoints.states import short
from basins.data import text
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

BESIDE = ("merges.txt", "added_tokens.json", "special_tokens_map.json", "tokenizer_config.json")


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
    known = {name: labels.read(splits[name], f"{data}, {name}") for name in looked}
    chosen = names or [n for n in splits if n not in TRAINING and known[n] is not None]
    if not chosen:
        found = ", ".join(f"{name} ({', '.join(s.column_names)})" for name, s in splits.items())
        raise UserError(f"{data}: no labelled split to evaluate on; it has: {found:.300}")
    config = {**(models.config or {}), **({"long_rows": "truncate"} if truncate else {})}
    order = None if models.text else labels.order(models, known, chosen)
    different = tokenizers(models) if models.text else {}
    sets: dict[str, Examples] = {}
    binary: dict[str, np.ndarray | None] = {}
    own: dict[str, dict[str, Examples]] = {}
    differs: dict[str, str] = {}
    for name in chosen:
        where, split, found = f"{data}, {name}", splits[name], known[name]
        if found is None:
            raise UserError(f"{where}: no column `label` that has a class for any row")
        rows = labels.labelled(found, where)
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
        found = labels.read(split, where)
        if found is None:
            raise UserError(f"{where}: no row has a label; give training rows with classes")
        kept = labels.labelled(found, where)
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


def _resident(
    images: np.ndarray,
    found: Labels,
    rows: np.ndarray,
    order: tuple[str, ...] | None,
    device: torch.device,
    where: str,
) -> Resident | Merged:
    """Put images on the device, with classes numbered as the outputs named in `order`."""
    numbers, merge = labels.renumbered(found, rows, order, where)
    there = resident(Split(images, numbers), device)
    return there if merge is None else Merged(there, merge.to(device))


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
    largest = max(int(targets.max()) for _, targets in batches)
    if examples.merge is None and count <= largest:
        raise UserError(f"{where}: labels up to {largest}, but the network has {count} classes")
