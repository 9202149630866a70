"""Consensus merging (Wang et al. 2024, section 5): drop weights that serve one task or none."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from basins.errors import UserError
from basins.merges.sources import Sources, by_model
from basins.merges.tall_masks import Threshold, masks
from basins.merges.task_arithmetic import Coefficient, Weights
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("aggregation", base=True)


def merge(
    sources: Sources,
    *,
    coefficient: Coefficient = 0.4,
    threshold: Threshold = 0.4,
    agree: Annotated[int, Field(ge=1)] = 2,
    weights: Weights | None = None,
) -> list[State]:
    """Return the base plus `coefficient` times the task vectors' sum where `agree` masks overlap.

    Masks are those of `tall_masks`. `agree` is the least number: 2, the paper's default, drops
    selfish and catastrophic weights, 1 only the latter. `weights` scale the task vectors, 1 by
    default. Tensors missing from the base are averaged. Raises `UserError` if there is no base, or
    there are fewer networks than `agree`.
    """
    if agree > len(sources.states):
        raise UserError(f"consensus: agree is {agree}, of {len(sources.states)} networks; lower it")

    def formula(tasks: Tensor) -> Tensor:
        together = coefficient * tasks.sum(0)
        return together * (masks(tasks, together, threshold).sum(0) >= agree)

    factors = by_model(weights, sources, "consensus: weights")
    return [sources.moved(formula, "tensor", factors)]
