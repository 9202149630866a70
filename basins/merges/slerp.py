"""Spherical linear interpolation (SLERP, Shoemake 1985) of two networks' weights."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from basins.errors import UserError
from basins.merges.karcher import unit
from basins.merges.sources import Scope, Sources
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("aggregation")


def merge(
    sources: Sources,
    *,
    t: Annotated[float, Field(ge=0, le=1)] = 0.5,
    scope: Scope = "tensor",
) -> list[State]:
    """Return the point at `t` on the arc from the first network (0) to the second (1).

    By default each tensor has its own arc, as in mergekit and fusion_bench; otherwise all weights
    are one vector. As there, the angle is that between directions, and the weights themselves are
    combined, so lengths are interpolated as well. They use straight lines below 1.8 degrees, which
    changes a weight by less than .02 %; here only angles within rounding errors do. For more
    networks see `karcher` and `multi_slerp`. Raises `UserError` unless there are two networks, or
    if they are opposite to each other.
    """
    if len(sources.states) != 2:
        raise UserError(f"slerp: {len(sources.states)} networks, not 2; take karcher, multi_slerp")
    return [sources.combined(lambda weights: slerp(weights, t, scope), scope)]


def slerp(weights: Tensor, t: float, scope: Scope = "vector") -> Tensor:
    """Return the point at `t` between weights [2, ...]."""
    directions, lengths = unit(weights, scope)
    if lengths is None:
        return weights[0].lerp(weights[1], t)
    first, second = directions
    # Accurate at small angles, unlike the arccosine.
    angle = 2 * torch.atan2((first - second).norm(), (first + second).norm())
    if torch.pi - angle < 1e-6:
        raise UserError("slerp: the networks' weights are opposite; no arc is the shortest")
    if angle < 1e-8:
        return weights[0].lerp(weights[1], t)
    return ((1 - t) * angle).sin() / angle.sin() * weights[0] + (
        t * angle
    ).sin() / angle.sin() * weights[1]
