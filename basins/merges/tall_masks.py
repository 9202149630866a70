"""TALL masks (Wang et al. 2024, section 4): recover each task from the sum of all by a mask."""

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
    """Return a network for each task, or an ensemble without tasks: the masked multi-task vector.

    That vector is `coefficient` times the sum of all task vectors; masks are those of `masks`. It
    would suffice to store the vector, and for each network one bit per weight. The paper tunes
    `threshold` (its lambda) for each task on validation data, from .2 to .6. Tensors missing from
    the base stay each network's own. Raises `UserError` if there is no base.
    """

    def formula(tasks: Tensor) -> Tensor:
        together = coefficient * tasks.sum(0)
        return together * masks(tasks, together, threshold)

    return sources.moved_each(formula, "tensor")


def masks(tasks: Tensor, together: Tensor, threshold: float) -> Tensor:
    """Return where a multi-task vector [...] is useful for each task vector [K, ...] (equation 5).

    An entry of the task vector must be at least `threshold` times its distance from that of the
    multi-task vector.
    """
    return tasks.abs() >= threshold * (together - tasks).abs()
