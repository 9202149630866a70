"""Each network on its own task: what merging is held against where tasks differ."""

from __future__ import annotations

from basins.merges.sources import ForEach, Sources

MIXES = False  # no networks' weights: how their units are ordered does not matter


def merge(sources: Sources) -> ForEach:
    """Return all networks, each for its own task; of one task they are the deep ensemble."""
    return ForEach(sources.states)
