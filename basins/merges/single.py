"""Each network on its own task: a reference for merging networks of different tasks."""

from __future__ import annotations

from basins.merges.sources import ForEach, Sources
from basins.merges.traits import Traits

TRAITS = Traits("reference", mixes=False)


def merge(sources: Sources) -> ForEach:
    """Return all networks, each for its own task; with a common task they form a deep ensemble."""
    return ForEach(sources.states)
