"""The Lanczos algorithm: extreme eigenvalues of a matrix from products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from basins.errors import UserError


class Ritz(NamedTuple):
    """Ritz values [steps], ascending, and their vectors [steps, steps] in an orthonormal `basis`.

    `basis` is [steps, size]; its first row is the normalised start vector.
    """

    values: np.ndarray
    vectors: np.ndarray
    basis: Tensor

    @property
    def masses(self) -> np.ndarray:
        """The squared component of the start along each Ritz vector, [steps]."""
        return self.vectors[0] ** 2

    def leading(self, count: int) -> Tensor:
        """Return the unit vectors [count, size] of the highest values, the highest first.

        Signs are such that the entry of largest magnitude is positive.
        """
        rows = self.vectors[:, ::-1][:, :count].T.copy()
        found = torch.from_numpy(rows).to(self.basis) @ self.basis
        peak = found.gather(1, found.abs().argmax(1, keepdim=True))
        return found * peak.sign()


def lanczos(product: Callable[[Tensor], Tensor], first: Tensor, steps: int) -> Ritz:
    """Return Ritz values and vectors of a symmetric matrix by `steps` products, from `first`.

    It ends early if the vectors span an invariant subspace. All vectors are kept (4 `steps` bytes
    per parameter) and reorthogonalised, as they lose orthogonality in float32. Raises `UserError`
    if a product is not finite, such as that with a Hessian whose loss overflows.
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
        if not isfinite(size):  # as it is if any entry of the product is not finite
            raise UserError(
                f"Lanczos, step {k + 1}: a Hessian-vector product is not finite; did the network's "
                "training diverge? Choose another network"
            )
        if k + 1 == steps or size <= 1e-6 * max(map(abs, [*diagonal, *beside])):
            break
        beside.append(size)
        basis[k + 1] = new / size
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
    return Ritz(values, vectors, basis[: len(diagonal)])
