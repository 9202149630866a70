"""A part of a dataset that represents the whole."""

from __future__ import annotations

import numpy as np

from basins.errors import UserError


def stratified(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Return which `size` of the examples with these labels [n] are drawn: int64 [size].

    Each class is in its proportion, and `seed` fixes which and in which order; all n are in theirs.
    Raises `UserError` where there are too few examples, of a class or in all, or `size` is below
    the number of classes.
    """
    members = np.unique(labels, return_counts=True)[1]
    count, classes = len(labels), len(members)
    if size == count:
        return np.arange(count)
    if not classes <= size <= count - classes or members.min() < 2:
        raise UserError(f"cannot draw {size} of {count} examples in {classes} classes")
    from sklearn.model_selection import train_test_split  # takes longer than most that import this

    chosen, _ = train_test_split(
        np.arange(count), train_size=size, stratify=labels, random_state=seed
    )
    return np.array(chosen)
