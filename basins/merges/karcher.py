"""The Karcher mean of the networks' weights on a sphere: SLERP for any number of networks."""

from __future__ import annotations

import torch
from torch import Tensor

from basins.errors import UserError
from basins.merges.sources import Positive, Scope, Sources, by_model
from basins.merges.traits import Traits
from basins.weights import State

TOLERANCE = 1e-10  # radians: length of a step at which the iteration stops
STEPS = 100

TRAITS = Traits("aggregation")


def merge(
    sources: Sources, *, scope: Scope = "vector", weights: Positive | None = None
) -> list[State]:
    """Return the mean direction of the networks' weights, scaled to their mean length.

    The direction minimises the sum of squared angles to all networks, weighted by `weights`, 1 by
    default (Karcher 1977); for two networks it is the midpoint of the great circle between them.
    The scope is whole vectors by default, as these are the points of a landscape; mergekit's
    `karcher` works on each tensor, where a tensor that is 0 in a network is averaged. Raises
    `UserError` if networks' weights cancel out, or are all 0 in one network.
    """
    given = by_model(weights, sources, "karcher: weights")

    def formula(points: Tensor) -> Tensor:
        return karcher(points, points.new_tensor(given) / sum(given), scope)

    return [sources.combined(formula, scope)]


def karcher(points: Tensor, shares: Tensor, scope: Scope = "vector") -> Tensor:
    """Return the Karcher mean of points [K, ...] with `shares` [K], scaled to their mean length."""
    directions, lengths = unit(points, scope)
    if lengths is None:
        return torch.tensordot(shares, points, 1)
    return (mean_direction(directions, shares) * (shares @ lengths)).view(points.shape[1:])


def unit(weights: Tensor, scope: Scope) -> tuple[Tensor, Tensor | None]:
    """Return weights [K, ...] as unit vectors [K, P], and their lengths [K].

    If a length is 0, return the flat weights and None for a single tensor; raise `UserError` for
    whole vectors.
    """
    flat = weights.flatten(1)
    lengths = flat.norm(dim=1)
    if not bool(lengths.all()):
        if scope == "vector":
            raise UserError(
                "spherical mean: the weights of a network are all 0, which have no direction"
            )
        return flat, None
    return flat / lengths[:, None], lengths


def mean_direction(directions: Tensor, shares: Tensor) -> Tensor:
    """Return the mean [P] of unit vectors [K, P] on the sphere, by fixed-point iteration."""
    mean = towards(directions, shares)
    for _ in range(STEPS):
        step = shares @ _logarithm(directions, mean)
        mean = exponential(mean, step)
        if step.norm() < TOLERANCE:
            break
    return mean / mean.norm()


def towards(directions: Tensor, shares: Tensor) -> Tensor:
    """Return the direction [P] of the sum of unit vectors [K, P] weighted by `shares` [K]."""
    mean = shares @ directions
    if mean.norm() < 1e-6:
        raise UserError("spherical mean: the weights cancel out; there is no mean direction")
    return mean / mean.norm()


def exponential(at: Tensor, step: Tensor) -> Tensor:
    """Return the sphere's exponential map at the point `at` [P] of a tangent vector `step` [P]."""
    size = step.norm()
    return size.cos() * at + torch.sinc(size / torch.pi) * step


def _logarithm(directions: Tensor, at: Tensor) -> Tensor:
    """Return the sphere's logarithmic map at the point `at` [P] of unit vectors [K, P], [K, P]."""
    cosines = directions @ at
    sideways = directions - cosines[:, None] * at
    sines = sideways.norm(dim=1)
    angles = torch.atan2(sines, cosines)
    return sideways * (angles / sines.clamp_min(1e-300))[:, None]
