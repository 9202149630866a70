"""Spherical interpolation (SLERP, Shoemake 1985) of whole weight vectors, half-way."""

from __future__ import annotations

import torch
from torch import Tensor

from basins.errors import UserError
from basins.merges.sources import Sources
from basins.weights import State

TOLERANCE = 1e-10  # radians: of the last step towards the mean direction
STEPS = 100


def merge(sources: Sources) -> list[State]:
    """Return the mean direction of the weights, as long as they are on average.

    Of two networks that is the middle of the great circle between them; of more, the point of the
    sphere with the least sum of squared angles to them all (Karcher mean). Raises `UserError` where
    networks are opposite to each other, or one has no weight that is not 0.
    """
    weights = sources.weights().double()
    lengths = weights.norm(dim=1, keepdim=True)
    if not bool(lengths.all()):
        raise UserError("slerp: the weights of a network are all 0, which have no direction")
    return [sources.state(karcher(weights / lengths) * lengths.mean())]


def karcher(directions: Tensor) -> Tensor:
    """Return the mean [P] of unit vectors [K, P] on the sphere, by fixed-point steps."""
    mean = directions.mean(0)
    if mean.norm() < 1e-6:
        raise UserError("slerp: the networks' weights cancel out; there is no mean direction")
    mean = mean / mean.norm()
    for _ in range(STEPS):
        cosines = directions @ mean
        sideways = directions - cosines[:, None] * mean
        sines = sideways.norm(dim=1)
        angles = torch.atan2(sines, cosines)
        step = (sideways * (angles / sines.clamp_min(1e-300))[:, None]).mean(0)
        size = step.norm()
        if size < TOLERANCE:
            break
        mean = size.cos() * mean + size.sin() * step / size
    return mean / mean.norm()
