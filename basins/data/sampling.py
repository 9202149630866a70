"""Representative samples of a dataset."""

from __future__ import annotations

import numpy as np

from basins.errors import UserError


def stratified(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Draw a sample of `size` of the examples with labels [n], stratified by class: int64 [size].

    `seed` determines the indices and their order; if `size` is n, they are in order. Raises
    `UserError` if there are too few examples, of a class or in total, or `size` is below the number
    of classes.
    """
    members = np.unique(labels, return_counts=True)[1]
    count, classes = len(labels), len(members)
    if size == count:
        return np.arange(count)
    if not classes <= size <= count - classes or members.min() < 2:
        raise UserError(f"cannot draw {size} of {count} examples in {classes} classes")
    from sklearn.model_selection import train_test_split  # slow to import

    chosen, _ = train_test_split(
        np.arange(count), train_size=size, stratify=labels, random_state=seed
    )
    return np.array(chosen)
