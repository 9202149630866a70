"""MagMax (Marczak et al. 2024, section 3): of every weight the change of largest size."""

from __future__ import annotations

from torch import Tensor

from basins.merges.sources import Sources, by_model
from basins.merges.task_arithmetic import Coefficient, Weights
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("aggregation", base=True)


def merge(
    sources: Sources, *, coefficient: Coefficient = 0.5, weights: Weights | None = None
) -> list[State]:
    """Return the base plus `coefficient` times, of every entry, the largest of all task vectors.

    The default is that of the authors' code. Of equal sizes the last network's counts, as there.
    `weights` multiply each network's task vector first, 1 by default. What the base lacks is
    averaged. Raises `UserError` where there is no base.
    """
    factors = by_model(weights, sources, "magmax: weights")
    return [sources.moved(lambda tasks: coefficient * largest(tasks), "tensor", factors)]


def largest(tasks: Tensor) -> Tensor:
    """Return the entries of task vectors [K, ...] that are largest in size."""
    last = tasks.flip(0)
    return last.gather(0, last.abs().argmax(0, keepdim=True))[0]
