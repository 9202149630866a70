"""Deep ensembles (Lakshminarayanan et al. 2017, section 2.4): average the networks' predictions."""

from __future__ import annotations

from basins.merges.sources import Sources
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("ensembling", mixes=False)


def merge(sources: Sources) -> list[State]:
    """Return all networks as the members of an ensemble."""
    return [*sources.states]
