"""TIES merging (Yadav et al. 2023, algorithm 1): trim, elect signs, average those that agree."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from basins.merges.sources import Sources
from basins.merges.task_arithmetic import tasks
from basins.weights import State

Share = Annotated[float, Field(gt=0, le=1)]
Coefficient = Annotated[float, Field(allow_inf_nan=False)]


def merge(sources: Sources, *, density: Share = 0.2, coefficient: Coefficient = 1.0) -> list[State]:
    """Return the base plus `coefficient` times the merged task vector.

    `density` is the share of each task vector's entries that is kept, the largest. Raises
    `UserError` where there is no base.
    """
    vectors = elected(trimmed(tasks(sources), density))
    return [sources.state(sources.origin().double() + coefficient * vectors)]


def trimmed(vectors: Tensor, density: float) -> Tensor:
    """Return vectors [K, P] with all but the largest `density` of each one's entries at 0."""
    kept = max(1, round(density * vectors.shape[1]))
    smallest = vectors.abs().kthvalue(vectors.shape[1] - kept + 1, dim=1, keepdim=True).values
    return vectors.where(vectors.abs() >= smallest, 0)


def elected(vectors: Tensor) -> Tensor:
    """Return for every entry of vectors [K, P] the mean of those that have the sum's sign, [P].

    Zeros have none and do not count.
    """
    agree = (vectors * vectors.sum(0).sign()) > 0
    return vectors.where(agree, 0).sum(0) / agree.sum(0).clamp_min(1)
