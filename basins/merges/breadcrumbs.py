"""Model Breadcrumbs (Davari and Belilovsky 2024, section 3): drop outliers and small changes."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from basins.errors import UserError
from basins.merges.sources import Positive, Sources, by_model
from basins.merges.task_arithmetic import Coefficient, total
from basins.merges.ties import elected
from basins.merges.traits import Traits
from basins.weights import State

Part = Annotated[float, Field(ge=0, lt=1)]

TRAITS = Traits("aggregation", base=True)


def merge(
    sources: Sources,
    *,
    small: Part = 0.85,
    large: Part = 0.007,
    coefficient: Coefficient = 0.3,
    then: Literal["sum", "ties"] = "sum",
    weights: Positive | None = None,
) -> list[State]:
    """Return the base plus `coefficient` times the sum of the masked task vectors.

    Tensors missing from the base are averaged.

    Args:
        sources: the networks and their base.
        small: the share of a network's smallest entries in each tensor that become 0 (the paper's
            beta), rounded down to a whole number of entries; in [0, 1).
        large: the share of its largest entries that become 0 (the paper's 1 - gamma), likewise.
        coefficient: the factor of the sum.
        then: `sum`, or `ties` for TIES's election instead (mergekit's `breadcrumbs_ties`).
        weights: the networks' weights in either, above 0; 1 by default.

    Raises:
        UserError: there is no base, no entries are left, or the number of `weights` is wrong.
    """
    if small + large >= 1:
        raise UserError(f"breadcrumbs: small {small} and large {large} leave nothing; lower them")
    shares = by_model(weights, sources, "weights")

    def formula(tasks: Tensor) -> Tensor:
        kept = masked(tasks, small, large)
        if then == "ties":
            return coefficient * elected(kept, weights=shares)
        return coefficient * total(kept, shares)

    return [sources.moved(formula, "tensor")]


def masked(tasks: Tensor, small: float, large: float) -> Tensor:
    """Return task vectors [K, ...] with their smallest and largest entries set to 0."""
    flat = tasks.flatten(1)
    size = flat.shape[1]
    order = flat.abs().argsort(dim=1, stable=True)
    kept = order[:, int(small * size) : size - int(large * size)]
    return torch.zeros_like(flat).scatter(1, kept, flat.gather(1, kept)).view_as(tasks)
