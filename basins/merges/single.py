"""Each network on its own task: what merging is held against where tasks differ."""

from __future__ import annotations

from basins.merges.sources import ForEach, Sources
from basins.merges.traits import Traits

TRAITS = Traits("reference", mixes=False)


def merge(sources: Sources) -> ForEach:
    """Return all networks, each for its own task; of one task they are the deep ensemble."""
    return ForEach(sources.states)
