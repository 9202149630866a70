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
    """Return the base plus `coefficient` times the sum of tasks with a flat spectrum.

    Of each matrix the sum of the networks' changes, all of whose singular values become their mean,
    so that no direction that many tasks share drowns the others. Other tensors are averaged, and so
    is what the base lacks. `weights` multiply each network's task vector first, 1 by default.
    Raises `UserError` where there is no base.
    """
    factors = by_model(weights, sources, "iso_c: weights")
    return [
        sources.moved(lambda tasks: coefficient * by_matrix(tasks, flattened), "tensor", factors)
    ]


def flattened(tasks: Tensor) -> Tensor:
    """Return the sum of task matrices [K, m, n], its singular values at their mean."""
    left, values, right = torch.linalg.svd(tasks.sum(0), full_matrices=False)
    return values.mean() * left @ right
