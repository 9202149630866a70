"""Text datasets in memory and on disk: a `datasets.DatasetDict` with one Arrow file per split.

Each dataset has `load(*, source, root, seed, **options) -> TextData`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from datasets.utils.logging import disable_progress_bar

from basins.data import disk
from basins.errors import UserError

Columns = dict[str, list]
# Sets of sentence columns, of GLUE's tasks and many others; every split has one of these sets.
FIELDS = (
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("sentence1", "sentence2"),
    ("sentence",),
    ("text",),
)


class TextData(NamedTuple):
    """A text dataset as loaded by its module, before any mixture.

    `splits` maps each split to its columns, lists of equal length: the sentences of a set of
    `FIELDS`, `label`, and others such as `heuristic`. `train` is required; `test` is in domain and
    shuffled once, so that its first n rows are a random subset; `counterexamples` is a pool of rows
    like those of `train`; all others are diagnostics. `classes` has the class names of each split,
    in the order of its labels: a diagnostic may have fewer classes than the task, and a split
    missing from it has no labels. `checksums` maps each file that was read to its md5; it is empty
    for synthetic data.
    """

    splits: dict[str, Columns]
    classes: dict[str, tuple[str, ...]]
    checksums: dict[str, str]


def fields(columns: Columns) -> tuple[str, ...]:
    """Return the names of the sentence columns: one, or the two of a pair, in order.

    Raises `UserError` if there is no known set of them.
    """
    for names in FIELDS:
        if set(names) <= set(columns):
            return names
    known = "; ".join(", ".join(names) for names in FIELDS)
    raise UserError(f"no sentences among the columns {', '.join(columns)}; known are: {known}")


def check(data: TextData, name: str) -> None:
    """Raise a one-line `UserError` if a dataset does not satisfy `TextData`.

    Not allowed are empty sentences, labels outside the classes, and rows of `train` that equal an
    earlier one in all columns.
    """
    if "train" not in data.splits:
        raise UserError(f"dataset {name!r}: no split 'train'; there are: {', '.join(data.splits)}")
    for split, columns in data.splits.items():
        where = f"dataset {name!r}, {split}"
        lengths = {column: len(values) for column, values in columns.items()}
        if len(set(lengths.values())) != 1 or not all(lengths.values()):
            raise UserError(f"{where}: columns must have one length, at least 1, not {lengths}")
        sentences = [columns[field] for field in fields(columns)]
        empty = [not all(map(_filled, row)) for row in zip(*sentences, strict=True)]
        refuse(where, "an empty sentence", empty)
        if ("label" in columns) != (split in data.classes):
            raise UserError(f"{where}: labels and the names of their classes must come together")
        if "label" in columns:
            count = len(data.classes[split])
            outside = [not (type(k) is int and 0 <= k < count) for k in columns["label"]]
            refuse(where, f"a label that is no integer from 0 to {count - 1}", outside)
    refuse(f"dataset {name!r}, train", "an earlier row's content", repeated(data.splits["train"]))


def repeated(columns: Columns) -> list[bool]:
    """Return whether each row equals an earlier one in all columns."""
    seen: set[tuple] = set()
    return [row in seen or bool(seen.add(row)) for row in zip(*columns.values(), strict=True)]


def columns(names: Sequence[str], rows: Iterable[Sequence]) -> Columns:
    """Return rows as columns with these names."""
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def pick(columns: Columns, rows: Sequence[int]) -> Columns:
    """Return the given rows, in the given order."""
    return {name: [values[i] for i in rows] for name, values in columns.items()}


def save(folder: Path, data: TextData) -> None:
    """Write the splits so that `datasets.load_from_disk(folder)` reads them.

    Columns are strings and int64, and `label` is a `ClassLabel`. The same content gives the same
    bytes.
    """
    disable_progress_bar()
    written = DatasetDict()
    for name, columns in data.splits.items():
        written[name] = _dataset(name, columns, data.classes.get(name))
    written.save_to_disk(folder, num_shards=dict.fromkeys(data.splits, 1))


def read(folder: Path, split: str) -> Columns:
    """Return a split's columns; raises `UserError` if folder or split is missing or damaged."""
    return disk.opened(folder, split).data.to_pydict()


def class_names(folder: Path, split: str) -> tuple[str, ...]:
    """Return the names of a split's classes, in the order of their labels."""
    features = disk.opened(folder, split).features
    if "label" not in features:
        raise UserError(f"{folder}: the split {split!r} has no labels; choose another dataset")
    return tuple(features["label"].names)


def _dataset(name: str, columns: Columns, classes: tuple[str, ...] | None) -> Dataset:
    features = Features(
        {
            column: ClassLabel(names=list(classes))
            if column == "label" and classes
            else Value("int64" if isinstance(values[0], int) else "string")
            for column, values in columns.items()
        }
    )
    table = pa.Table.from_pydict(columns, schema=features.arrow_schema)
    # Named by content, so that the same data has the same bytes whatever `datasets` would name it.
    content = hashlib.sha256(json.dumps([name, columns]).encode())
    return Dataset(table, fingerprint=content.hexdigest()[:16])


def _filled(sentence: object) -> bool:
    return isinstance(sentence, str) and bool(sentence.strip())


def refuse(where: str, what: str, bad: Sequence[bool]) -> None:
    """Raise `UserError` with the number of `bad` rows, if there are any."""
    if any(bad):
        raise UserError(
            f"{where}: {sum(bad)} of {len(bad)} rows have {what} (the first is row "
            f"{list(bad).index(True)}, counted from 0); drop or mend them"
        )
