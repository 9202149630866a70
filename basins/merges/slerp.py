"""Spherical interpolation (SLERP, Shoemake 1985) of two networks' weights, as far as `t`."""

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

    Each tensor on an arc of its own by default, as in mergekit and fusion_bench, or all weights as
    one vector. As there, the angle is that of the directions, and its sines weigh the weights as
    they are, so that lengths are mixed, too. They take straight lines below 1.8 degrees, which
    changes a weight by less than .02 %; here that is where angles are rounding. For more networks
    there are `karcher` and `multi_slerp`. Raises `UserError` where the networks are not two, or
    opposite to each other.
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
    # Exact at small angles, where the cosine's inverse is not.
    angle = 2 * torch.atan2((first - second).norm(), (first + second).norm())
    if torch.pi - angle < 1e-6:
        raise UserError("slerp: the networks' weights are opposite; no arc is the shortest")
    if angle < 1e-8:
        return weights[0].lerp(weights[1], t)
    return ((1 - t) * angle).sin() / angle.sin() * weights[0] + (
        t * angle
    ).sin() / angle.sin() * weights[1]
