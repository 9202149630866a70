"""Columns of numbers are what the library makes of them, without its calls for every list."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from datasets import Array3D, Dataset, Features

from basins.checkpoints.columns import stacked, tensors

DRAW = np.random.default_rng(0)
PIXELS = DRAW.integers(0, 256, (6, 5, 4, 3))
COLUMNS = {
    "pixels": PIXELS.tolist(),
    "lists": DRAW.normal(size=(6, 4)).tolist(),
    "numbers": DRAW.normal(size=6).tolist(),
    "classes": [0, 1, 2, 0, 1, 2],
    "flags": [True, False] * 3,
    "names": list("abcdef"),
    "ragged": [[1], [1, 2], [3], [4], [5], [6]],
}


@pytest.mark.parametrize("rows", [[*range(6)], [2, 3, 4], [4, 0, 4]])
def test_tensors_are_the_librarys(rows):
    part = Dataset.from_dict(COLUMNS).select(rows)
    ours, theirs = tensors(part), part.with_format("torch")[:]
    assert [*ours] == [*COLUMNS] and ours["names"] == theirs["names"]
    assert all(map(torch.equal, ours["ragged"], theirs["ragged"]))
    for name in COLUMNS.keys() - {"names", "ragged"}:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=0)
        column = part.with_format("arrow")[:][name]
        assert stacked(column) is not None, name  # that is, the library converted nothing


def test_arrays_of_a_declared_shape_are_stacked():
    declared = Features({"image": Array3D((5, 4, 3), "uint8")})
    made = Dataset.from_dict({"image": PIXELS.astype(np.uint8)}, features=declared)
    np.testing.assert_array_equal(stacked(made.with_format("arrow")[:]["image"]), PIXELS)


@pytest.mark.parametrize("row", [[[1, 2], [3]], [[1, 2], [3, None]], [[1, 2], None], None])
def test_what_has_gaps_is_no_array(row):
    column = Dataset.from_dict({"x": [[[1, 2], [3, 4]], row]}).with_format("arrow")[:]["x"]
    assert stacked(column) is None
