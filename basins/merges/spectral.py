"""Shared by techniques based on singular values: task vectors as matrices."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def by_matrix(tasks: Tensor, formula: Callable[[Tensor], Tensor]) -> Tensor:
    """Return `formula` of task matrices [K, m, n], or the mean of other tensors, such as biases.

    A convolution's matrix has one row per output channel; the authors' code, written for networks
    of linear layers, averages convolutions.
    """
    if tasks.ndim < 3:
        return tasks.mean(0)
    return formula(tasks.flatten(2)).view(tasks.shape[1:])


def decorrelated(columns: Tensor) -> Tensor:
    """Return the nearest matrix with orthonormal columns (or rows, if m < n) to one [m, n]."""
    left, _, right = torch.linalg.svd(columns, full_matrices=False)
    return left @ right
