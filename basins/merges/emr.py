"""EMR-Merging (Huang et al. 2024, section 3): one task vector, masked and rescaled for each."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from basins.merges.sources import Sources
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("aggregation", base=True)


def merge(sources: Sources, *, of: Literal["each", "unified"] = "each") -> list[State]:
    """Return a network for `each` task, the members of an ensemble, or the `unified` one alone.

    Stored are one task vector, and of each network a bit for every weight and a number. What the
    base lacks stays each network's, and is averaged in the unified one. Raises `UserError` where
    there is no base.
    """
    if of == "unified":
        return [sources.moved(unified)]
    return sources.moved_each(each)


def unified(tasks: Tensor) -> Tensor:
    """Return of task vectors [K, ...] the sum's signs with the largest size that has them.

    A sum of 0 counts as negative, as in the authors' code.
    """
    sign = 2.0 * (tasks.sum(0) > 0) - 1
    return sign * (tasks * sign).clamp_min(0).amax(0)


def each(tasks: Tensor) -> Tensor:
    """Return what stands for each task vector [K, ...]: the unified one, masked and rescaled.

    The mask drops what has another sign than the task's; then the mean size is that of the task's.
    """
    one = unified(tasks)
    masked = one * (tasks * one > 0)
    sizes, left = (x.abs().flatten(1).sum(1) for x in (tasks, masked))
    scale = sizes / left.where(left > 0, 1)
    return masked * scale.view(-1, *[1] * (tasks.ndim - 1))
