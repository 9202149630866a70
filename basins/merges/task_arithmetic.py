"""Task arithmetic (Ilharco et al. 2023, section 2): add or negate task vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from basins.merges.sources import Mixture, Sources, by_model
from basins.merges.traits import Traits
from basins.weights import State

Coefficient = Annotated[float, Field(allow_inf_nan=False)]
Weights = Annotated[list[Coefficient], Field(min_length=1)]

TRAITS = Traits("aggregation", base=True)


def merge(
    sources: Sources, *, coefficient: Coefficient = 0.4, weights: Weights | None = None
) -> list[State]:
    """Return the base plus `coefficient` times the sum of the task vectors; below 0 it negates.

    `weights` scale the task vectors, 1 by default (mergekit's `weight`, without `normalize`). The
    default coefficient is close to the paper's for eight tasks (section 4.2). Tensors missing from
    the base are averaged. Raises `UserError` if there is no base.
    """
    shares = [coefficient * weight for weight in by_model(weights, sources, "weights")]
    merged = sources.moved(lambda tasks: total(tasks, shares), "tensor")
    parts = [(sources.start(), 1 - sum(shares)), *zip(sources.states, shares, strict=True)]
    return [Mixture(merged, parts)]


def total(tasks: Tensor, weights: Sequence[float]) -> Tensor:
    """Return the sum of task vectors [K, ...] weighted by `weights`."""
    return torch.tensordot(tasks.new_tensor(weights), tasks, 1)
