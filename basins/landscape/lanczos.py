"""The Lanczos iteration: extreme eigenvalues of a matrix, from its products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Ritz(NamedTuple):
    """Ritz values [steps], ascending, and their vectors [steps, steps] in an orthonormal `basis`.

    `basis` is [steps, size], and its first row the direction of the start.
    """

    values: np.ndarray
    vectors: np.ndarray
    basis: Tensor

    @property
    def masses(self) -> np.ndarray:
        """The share of each value in what the start is made of, [steps]."""
        return self.vectors[0] ** 2

    def leading(self, count: int) -> Tensor:
        """Return the unit vectors [count, size] of the highest values, the highest first.

        The sign of each is such that its largest entry is above 0.
        """
        rows = self.vectors[:, ::-1][:, :count].T.copy()
        found = torch.from_numpy(rows).to(self.basis) @ self.basis
        peak = found.gather(1, found.abs().argmax(1, keepdim=True))
        return found * peak.sign()


def lanczos(product: Callable[[Tensor], Tensor], first: Tensor, steps: int) -> Ritz:
    """Return what `steps` products with a symmetric matrix tell of it, beginning with `first`.

    It ends earlier where the vectors span all that products reach. All are kept, 4 `steps` bytes a
    parameter, and are made orthogonal again, since in float32 they do not stay so.
    """
    basis = torch.empty(steps, len(first), dtype=first.dtype, device=first.device)
    basis[0] = first / first.norm()
    diagonal: list[float] = []
    beside: list[float] = []
    for k in range(steps):
        new = product(basis[k])
        diagonal.append(float(new @ basis[k]))
        kept = basis[: k + 1]
        for _ in range(2):
            new = new - kept.T @ (kept @ new)
        size = float(new.norm())
        if k + 1 == steps or size <= 1e-6 * max(map(abs, [*diagonal, *beside])):
            break
        beside.append(size)
        basis[k + 1] = new / size
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
    return Ritz(values, vectors, basis[: len(diagonal)])
