"""MagMax (Marczak et al. 2024, section 3): for every weight, the change of largest magnitude."""

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
    """Return the base plus `coefficient` times the entrywise largest of the task vectors.

    The default is that of the authors' code; in case of ties the last network's entry is taken, as
    there. `weights` scale the task vectors, 1 by default. Tensors missing from the base are
    averaged. Raises `UserError` if there is no base.
    """
    factors = by_model(weights, sources, "magmax: weights")
    return [sources.moved(lambda tasks: coefficient * largest(tasks), "tensor", factors)]


def largest(tasks: Tensor) -> Tensor:
    """Return the entries of task vectors [K, ...] that are largest in magnitude, [...]."""
    last = tasks.flip(0)
    return last.gather(0, last.abs().argmax(0, keepdim=True))[0]
