"""The classes of a dataset's rows, and the outputs of a network that they are."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from datasets import ClassLabel, Dataset
from torch import Tensor

from basins.checkpoints.models import Models
from basins.data.classes import key, matched, numbered
from basins.errors import UserError
from basins.nets import checkpoint

COLUMNS = ("label", "labels", "fine_label")
MOST = 10**6  # larger numbers are not taken for classes


class Labels(NamedTuple):
    """The class of every row, int64 [n], -1 if it has none, and the names of the classes.

    `stated` says whether the dataset itself specifies the order of the classes.
    """

    numbers: np.ndarray
    names: tuple[str, ...]
    stated: bool


def read(split: Dataset, where: str, among: Sequence[str] = COLUMNS) -> Labels | None:
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


def labelled(found: Labels, where: str) -> np.ndarray:
    """Return the indices of rows that have a class; a warning counts the others."""
    rows = np.flatnonzero(found.numbers >= 0)
    if gone := len(found.numbers) - len(rows):
        warnings.warn(
            f"{where}: {gone} of {len(found.numbers)} rows have no label and are left out",
            stacklevel=2,
        )
    return rows


def order(
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
        names = checkpoint.classes(models.config)
        if not numbered(names):
            return names if any(found and not numbered(found.names) for found in named) else None
    for found in named:
        if found is not None and not found.stated:
            raise UserError(
                f"labels are texts ({', '.join(found.names)[:200]}), and which output of the "
                "network is which is not known: say so by `--labels NAME=NUMBER,...`"
            )
    return next((found.names for found in named if found and not numbered(found.names)), None)


def renumbered(
    found: Labels, rows: np.ndarray, names: Sequence[str] | None, where: str
) -> tuple[np.ndarray, Tensor | None]:
    """Return the classes of rows, numbered as the outputs called `names`, and what is merged."""
    if names is None:
        return found.numbers[rows], None
    numbers, merge = matched(names, found.names, where)
    return np.array(numbers)[found.numbers[rows]], None if merge is None else torch.tensor(merge)


def classes(
    models: Models, split: Dataset, column: str, where: str
) -> tuple[np.ndarray, Tensor, Tensor | None]:
    """Return the rows that have a class in a column, their outputs' numbers, and what is merged.

    A warning counts the other rows. Raises `UserError` if there is none, or classes do not match.
    """
    if (found := read(split, where, (column,))) is None:
        raise UserError(f"{where}: no row has a class in the column {column!r}")
    own = checkpoint.classes(models.config or {}) if models.text else None
    names, rows = own or order(models, {where: found}, [where]), labelled(found, where)
    numbers, merge = renumbered(found, rows, names, where)
    return rows, torch.from_numpy(numbers), merge
