"""The columns of a dataset, and those of numbers, such as pixels, as arrays.

The library converts nested lists by a call in Python for each innermost one: five milliseconds for
an image of CIFAR, where this takes ten microseconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset
from torch.utils._pytree import tree_leaves


def transformed(rows: Dataset) -> bool:
    """Return whether a dataset's rows are made by a function (`with_transform`)."""
    return rows.format["type"] == "custom"


def seen(rows: Dataset) -> Dataset:
    """Return the columns that a dataset's format shows (`set_format("torch", columns=...)`)."""
    form = rows.format
    return rows if form["output_all_columns"] else rows.select_columns(form["columns"])


def stacked(column: pa.ChunkedArray) -> np.ndarray | None:
    """Return numbers, or nested lists of them, as one array [n, ...].

    None if a level's lists differ in length, a value is missing, or values are no numbers.
    """
    values, shape = column.combine_chunks(), [len(column)]
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    while isinstance(values.type, (pa.ListType, pa.LargeListType, pa.FixedSizeListType)):
        lengths = values.value_lengths().unique()
        if len(lengths) != 1 or values.null_count:
            return None
        shape.append(lengths[0].as_py())
        values = values.flatten()
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    if values.null_count or not any(of(values.type) for of in kinds):
        return None
    return values.to_numpy(zero_copy_only=False).reshape(shape)


def gap(rows: Dataset) -> tuple[int, str] | None:
    """Return the row and the column of a missing value, or None if there is none."""
    table = rows.with_format("arrow")[:]
    for name in rows.column_names:
        if stacked(table[name]) is None:
            for row, value in enumerate(table[name].to_pylist()):
                if any(leaf is None for leaf in tree_leaves(value)):
                    return row, name
    return None


def tensors(rows: Dataset) -> dict[str, Any]:
    """Return columns as the library's tensors: int64 or float32 [n, ...].

    Those that are no arrays of numbers are what the library makes of them.
    """
    table = rows.with_format("arrow")[:]
    arrays = {name: stacked(table[name]) for name in rows.column_names}
    others = [name for name, array in arrays.items() if array is None]
    made = {**rows.select_columns(others).with_format("torch")[:]} if others else {}
    for name, array in arrays.items():
        if array is not None:
            kinds = {"i": np.int64, "u": np.int64, "f": np.float32}
            made[name] = torch.from_numpy(array.astype(kinds.get(array.dtype.kind, array.dtype)))
    return {name: made[name] for name in rows.column_names}
