"""Isotropic merging in common and task-specific subspaces (Marczak et al. 2025, section 4)."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from basins.merges.sources import Sources, by_model
from basins.merges.spectral import by_matrix, decorrelated
from basins.merges.task_arithmetic import Coefficient, Weights
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("aggregation", base=True)


def merge(
    sources: Sources,
    *,
    common: Annotated[float, Field(ge=0, le=1)] = 0.8,
    coefficient: Coefficient = 1.0,
    weights: Weights | None = None,
) -> list[State]:
    """Return the base plus `coefficient` times a flat spectrum on common and tasks' directions.

    Other tensors are averaged, and so is what the base lacks. A singular value decomposition of
    each matrix of each network, and three of their size. Raises `UserError` where there is no base.

    Args:
        sources: the networks and their base.
        common: the share of a matrix's directions that are those of the sum of tasks, the
            authors' .8. At 1 this is Iso-C.
        coefficient: the paper's alpha, 1 without data to choose it on.
        weights: multiply each network's task vector first, 1 by default.
    """
    factors = by_model(weights, sources, "iso_cts: weights")

    def formula(tasks: Tensor) -> Tensor:
        return coefficient * by_matrix(tasks, lambda matrices: flattened(matrices, common))

    return [sources.moved(formula, "tensor", factors)]


def flattened(tasks: Tensor, common: float) -> Tensor:
    """Return the matrix of one singular value that is merged from task matrices [K, m, n].

    Of min(m, n) directions about the share `common` are the first of the tasks' sum. Each task has
    an equal part of the others: the first of what it is outside of the common left ones. All are
    made orthonormal (`decorrelated`), and have the mean of their singular values. Where tasks'
    directions are linearly dependent, as those of equal tasks, any that are orthogonal to the
    others fill the place.
    """
    left, values, right = torch.linalg.svd(tasks.sum(0), full_matrices=False)
    full, count = len(values), len(tasks)
    each = min(round((full - int(common * full)) / count), full // count)  # as the authors' code
    left, values, right = (part[: full - count * each] for part in (left.mT, values, right))
    if each:
        own = torch.linalg.svd(tasks - left.mT @ (left @ tasks), full_matrices=False)
        left = torch.cat([left, own.U.mT[:, :each].flatten(0, 1)])
        values = torch.cat([values, own.S[:, :each].flatten()])
        right = torch.cat([right, own.Vh[:, :each].flatten(0, 1)])
    return values.mean() * decorrelated(left).mT @ decorrelated(right)
