"""Task singular vectors (Gargiulo et al. 2025, section 4): compress and decorrelate tasks."""

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

    Of each task matrix the 1 / K largest singular values are kept, at least one. The concatenated
    singular vectors of all networks are replaced by the nearest orthonormal ones, so that tasks do
    not interfere. Tensors that are not matrices, or are missing from the base, are averaged.
    `weights` scale the task vectors, 1 by default. It takes a singular value decomposition of each
    matrix of each network. Raises `UserError` if there is no base.
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
