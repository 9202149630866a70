"""What the techniques of singular values have in common: task vectors as matrices."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def by_matrix(tasks: Tensor, formula: Callable[[Tensor], Tensor]) -> Tensor:
    """Return `formula` of task matrices [K, m, n]; the mean of what is no matrix, such as a bias.

    A convolution's matrix has a row for each output. The authors' code, which is for networks of
    linear layers, averages it.
    """
    if tasks.ndim < 3:
        return tasks.mean(0)
    return formula(tasks.flatten(2)).view(tasks.shape[1:])


def decorrelated(columns: Tensor) -> Tensor:
    """Return the matrix with orthonormal columns, or rows, that is nearest to one [m, n]."""
    left, _, right = torch.linalg.svd(columns, full_matrices=False)
    return left @ right
