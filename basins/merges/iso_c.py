"""Isotropic merging in the common subspace (Marczak et al. 2025, section 4.1: Iso-C)."""

from __future__ import annotations

import torch
from torch import Tensor

from basins.merges.sources import Sources, by_model
from basins.merges.spectral import by_matrix
from basins.merges.task_arithmetic import Coefficient, Weights
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("aggregation", base=True)


def merge(
    sources: Sources, *, coefficient: Coefficient = 1.0, weights: Weights | None = None
) -> list[State]:
    """Return the base plus `coefficient` times the sum of task matrices with a flat spectrum.

    All singular values of the sum are replaced by their mean, so that directions shared by many
    tasks do not dominate the others. Tensors that are not matrices, or are missing from the base,
    are averaged. `weights` scale the task vectors, 1 by default. Raises `UserError` if there is no
    base.
    """
    factors = by_model(weights, sources, "iso_c: weights")
    return [
        sources.moved(lambda tasks: coefficient * by_matrix(tasks, flattened), "tensor", factors)
    ]


def flattened(tasks: Tensor) -> Tensor:
    """Return the sum of task matrices [K, m, n] with its singular values set to their mean."""
    left, values, right = torch.linalg.svd(tasks.sum(0), full_matrices=False)
    return values.mean() * left @ right
