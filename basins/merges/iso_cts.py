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
    """Return the base plus `coefficient` times matrices with a flat spectrum.

    Their directions are common and task-specific. Tensors that are not matrices, or are missing
    from the base, are averaged. It takes one singular value decomposition of each matrix of each
    network, and three more of that size. Raises `UserError` if there is no base.

    Args:
        sources: the networks and their base.
        common: the share of a matrix's directions taken from the sum of task matrices; .8 in the
            authors' code. At 1 this is Iso-C.
        coefficient: the paper's alpha, 1 without data to tune it.
        weights: factors of the networks' task vectors, 1 by default.
    """
    factors = by_model(weights, sources, "iso_cts: weights")

    def formula(tasks: Tensor) -> Tensor:
        return coefficient * by_matrix(tasks, lambda matrices: flattened(matrices, common))

    return [sources.moved(formula, "tensor", factors)]


def flattened(tasks: Tensor, common: float) -> Tensor:
    """Merge task matrices [K, m, n] into a matrix whose singular values are all equal.

    About the share `common` of min(m, n) directions are the leading ones of the tasks' sum. The
    others are divided equally among tasks: the leading directions of each task matrix after
    projecting out the common left ones. All are made orthonormal (`decorrelated`) and get the mean
    of their singular values. Where tasks' directions are linearly dependent, as for equal tasks,
    arbitrary directions orthogonal to the others replace them.
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
