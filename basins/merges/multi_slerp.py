"""Multi-SLERP: a weighted mean on the sphere in one step, as mergekit's `multislerp` takes it."""

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
    """Return the barycentre of the networks' directions, as long as they are on average.

    The directions are projected onto the tangent space at their weighted mean's, averaged there,
    and brought back to the sphere: a first step towards what `karcher` iterates to. Tensor by
    tensor, as in mergekit, or of whole vectors. `tasks` puts the sphere around the base
    (mergekit's `base_model`); what the base lacks is averaged. A tensor that is 0 in a network is
    averaged as well. Raises `UserError` where the weighted directions cancel out.
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
