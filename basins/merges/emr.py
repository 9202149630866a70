"""EMR-Merging (Huang et al. 2024, section 3): one task vector, masked and rescaled per task."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from basins.merges.sources import Sources
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("aggregation", base=True)


def merge(sources: Sources, *, of: Literal["each", "unified"] = "each") -> list[State]:
    """Return a network for `each` task, or as an ensemble without tasks, or the `unified` network.

    It would suffice to store one task vector, and for each network one bit per weight and a scale.
    Tensors missing from the base stay each network's own; the unified network has their mean.
    Raises `UserError` if there is no base.
    """
    if of == "unified":
        return [sources.moved(unified)]
    return sources.moved_each(each)


def unified(tasks: Tensor) -> Tensor:
    """Return, for each entry of task vectors [K, ...], the largest one with the sign of their sum.

    A sum of 0 counts as negative, as in the authors' code.
    """
    sign = 2.0 * (tasks.sum(0) > 0) - 1
    return sign * (tasks * sign).clamp_min(0).amax(0)


def each(tasks: Tensor) -> Tensor:
    """Return a substitute for each task vector [K, ...]: the unified one, masked and rescaled.

    The mask drops entries whose sign differs from the task's; the scale restores the task vector's
    mean magnitude.
    """
    one = unified(tasks)
    masked = one * (tasks * one > 0)
    sizes, left = (x.abs().flatten(1).sum(1) for x in (tasks, masked))
    scale = sizes / left.where(left > 0, 1)
    return masked * scale.view(-1, *[1] * (tasks.ndim - 1))
