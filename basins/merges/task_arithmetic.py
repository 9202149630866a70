"""Task arithmetic (Ilharco et al. 2023, section 2): add what training has changed, or negate it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from basins.merges.sources import Sources
from basins.weights import State


def merge(
    sources: Sources, *, coefficient: Annotated[float, Field(allow_inf_nan=False)] = 0.4
) -> list[State]:
    """Return the base plus `coefficient` times the sum of the task vectors; below 0 it negates.

    Raises `UserError` where there is no base.
    """
    return [sources.state(added(sources.origin(), tasks(sources), coefficient))]


def tasks(sources: Sources) -> Tensor:
    """Return the networks' task vectors [K, P], float64: their weights less those of the base."""
    return sources.weights().double() - sources.origin().double()


def added(origin: Tensor, vectors: Tensor, coefficient: float) -> Tensor:
    """Return the weights [P] of a base plus `coefficient` times the sum of vectors [K, P]."""
    return origin.double() + coefficient * vectors.sum(0)
