"""Multi-SLERP: a weighted mean on the sphere in one step, as in mergekit's `multislerp`."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from basins.merges.karcher import exponential, towards, unit
from basins.merges.sources import Positive, Scope, Sources, by_model
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("aggregation")


def merge(
    sources: Sources,
    *,
    weights: Positive | None = None,
    scope: Scope = "tensor",
    of: Literal["weights", "tasks"] = "weights",
) -> list[State]:
    """Return the barycentre of the networks' directions, scaled to their mean length.

    The directions are projected onto the tangent space at their weighted mean direction, averaged
    there, and mapped back to the sphere: one step of an iteration like that of `karcher`. `scope`
    is each tensor, as in mergekit, or whole vectors. `of="tasks"` centres the sphere on the base
    (mergekit's `base_model`). Tensors missing from the base, or 0 in a network, are averaged.
    Raises `UserError` if the weighted directions cancel out.
    """
    given = by_model(weights, sources, "multi_slerp: weights")

    def formula(points: Tensor) -> Tensor:
        shares = points.new_tensor(given) / sum(given)
        directions, lengths = unit(points, scope)
        if lengths is None:
            return shares.view(-1, *[1] * (points.ndim - 1)).mul(points).sum(0)
        centre = towards(directions, shares)
        tangent = shares @ (directions - (directions @ centre)[:, None] * centre)
        return (exponential(centre, tangent) * (shares @ lengths)).view(points.shape[1:])

    made = sources.moved if of == "tasks" else sources.combined
    return [made(formula, scope)]
