"""TALL masks (Wang et al. 2024, section 4): each task found again in the sum of all."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from basins.merges.sources import Sources
from basins.merges.task_arithmetic import Coefficient
from basins.merges.traits import Traits
from basins.weights import State

Threshold = Annotated[float, Field(gt=0, allow_inf_nan=False)]

TRAITS = Traits("aggregation", base=True)


def merge(
    sources: Sources, *, coefficient: Coefficient = 0.4, threshold: Threshold = 0.4
) -> list[State]:
    """Return a network for each task, the members of an ensemble: the multi-task vector, masked.

    That vector is `coefficient` times the sum of all; the masks are those of `masks`. Stored are
    the vector and of each network a bit for every weight. The paper chooses `threshold` (its
    lambda) for each task on validation data, from .2 to .6. What the base lacks stays each
    network's. Raises `UserError` where there is no base.
    """

    def formula(tasks: Tensor) -> Tensor:
        together = coefficient * tasks.sum(0)
        return together * masks(tasks, together, threshold)

    return sources.moved_each(formula, "tensor")


def masks(tasks: Tensor, together: Tensor, threshold: float) -> Tensor:
    """Return where a multi-task vector [...] serves each of task vectors [K, ...] (equation 5).

    The task's change must be at least `threshold` times what others make of it.
    """
    return tasks.abs() >= threshold * (together - tasks).abs()
