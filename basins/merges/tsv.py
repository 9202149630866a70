"""Task singular vectors (Gargiulo et al. 2025, section 4): compressed and decorrelated tasks."""

from __future__ import annotations

import torch
from torch import Tensor

from basins.merges.sources import Sources, by_model
from basins.merges.spectral import by_matrix, decorrelated
from basins.merges.task_arithmetic import Coefficient, Weights
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("aggregation", base=True)


def merge(
    sources: Sources, *, coefficient: Coefficient = 1.0, weights: Weights | None = None
) -> list[State]:
    """Return the base plus `coefficient` times the merged task matrices (TSV-Merge).

    Of each network's change of a matrix the 1 / K largest singular values stay, at least one. All
    networks' singular vectors, side by side, are replaced by the nearest orthonormal ones, so that
    no task lies in another's way. Other tensors are averaged, and so is what the base lacks.
    `weights` multiply each network's task vector first, 1 by default. A singular value
    decomposition of each matrix of each network. Raises `UserError` where there is no base.
    """
    factors = by_model(weights, sources, "tsv: weights")
    return [sources.moved(lambda tasks: coefficient * by_matrix(tasks, merged), "tensor", factors)]


def merged(tasks: Tensor) -> Tensor:
    """Return the merged matrix [m, n] of task matrices [K, m, n]."""
    left, values, right = torch.linalg.svd(tasks, full_matrices=False)
    rank = max(1, values.shape[1] // len(tasks))
    columns = torch.cat(list(left[:, :, :rank]), 1)
    rows = torch.cat(list(right[:, :rank]), 0)
    return decorrelated(columns) * values[:, :rank].flatten() @ decorrelated(rows)
