"""Simplicial ensembles (Benton et al. 2021, section 4): members from a simplex of networks."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from basins.merges.sources import Sources, mixture
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("ensembling")


def merge(sources: Sources, *, members: Annotated[int, Field(ge=1)] = 8) -> list[State]:
    """Return `members` drawn uniformly from the simplex spanned by the networks.

    The paper trains additional vertices that keep the loss low, as `spro` does; here only the
    networks are vertices, so the ensemble shows whether the loss between them is low.
    """
    shares = sources.generator.dirichlet([1.0] * len(sources.states), size=members)
    return [mixture(sources.states, share) for share in shares]
