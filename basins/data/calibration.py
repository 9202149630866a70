"""A small part of the training data that represents the whole."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import train_test_split

from basins.data.images import Split
from basins.errors import UserError


def stratified(split: Split, size: int, seed: int) -> Split:
    """Return `size` examples, each class in its proportion, in a random order that `seed` fixes.

    Raises `UserError` where the split has too few examples, of a class or in all, or `size` is
    below its classes.
    """
    members = np.unique(split.labels, return_counts=True)[1]
    count, classes = len(split.labels), len(members)
    if size == count:
        return split
    if not classes <= size <= count - classes or members.min() < 2:
        raise UserError(f"cannot draw {size} of {count} examples in {classes} classes")
    chosen, _ = train_test_split(
        np.arange(count), train_size=size, stratify=split.labels, random_state=seed
    )
    return Split(split.images[chosen], split.labels[chosen])
