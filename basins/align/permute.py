"""Permutations of a network's units, applied to its weights.

A permutation is an integer array p [n], n the group's size: unit i of the result is unit p[i] of
the operand. A set of them is a dict group -> p; groups missing from it are not permuted.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from basins.errors import UserError
from basins.nets.permutation import Axis, PermutationSpec


def permute(
    state: Mapping[str, Tensor],
    spec: PermutationSpec,
    permutations: Mapping[str, np.ndarray],
    *,
    inverse: bool = False,
) -> dict[str, Tensor]:
    """Return `state` with its units permuted, group by group in the order of `spec`.

    `inverse` undoes this by inverse permutations in the opposite order. The network's function is
    unchanged, running statistics are permuted with their units, and tensors that no group names are
    shared with `state`. Raises `UserError` if spec, state and permutations are inconsistent.
    """
    spec.check(state)
    if unknown := set(permutations) - set(spec.groups):
        known = ", ".join(spec.groups)
        raise UserError(f"no permutation group {min(unknown)!r}; there are: {known}")
    moved = dict(state)
    for group in list(spec.groups)[:: -1 if inverse else 1]:
        if group not in permutations:
            continue
        permutation = np.asarray(permutations[group])
        size = spec.size(state, group)
        if not np.array_equal(np.sort(permutation), np.arange(size)):
            raise UserError(f"permutation group {group!r}: not a permutation of 0 to {size - 1}")
        if inverse:
            permutation = np.argsort(permutation)
        for axis in spec.groups[group]:
            tensor = moved[axis.tensor]
            index = torch.from_numpy(entries(permutation, axis, tensor.shape[axis.dim]))
            moved[axis.tensor] = tensor.index_select(axis.dim, index.to(tensor.device))
    return moved


def entries(permutation: np.ndarray, axis: Axis, length: int) -> np.ndarray:
    """Return the index [length] that applies `permutation` to the entries of `axis`."""
    start, stop = axis.window or (0, length)
    index = np.arange(length)
    index[start:stop] = index[start:stop].reshape(-1, axis.block)[permutation].ravel()
    return index


def identity(state: Mapping[str, Tensor], spec: PermutationSpec) -> dict[str, np.ndarray]:
    """Return the permutations that leave `state` unchanged."""
    return {group: np.arange(spec.size(state, group)) for group in spec.groups}


def random_permutations(
    state: Mapping[str, Tensor], spec: PermutationSpec, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return a uniformly drawn permutation for every group."""
    return {group: generator.permutation(spec.size(state, group)) for group in spec.groups}
