"""The best of the networks alone: the reference of what merging gains."""

from __future__ import annotations

from basins.merges.sources import Sources
from basins.weights import State

MIXES = False  # no networks' weights: how their units are ordered does not matter


def merge(sources: Sources) -> list[State]:
    """Return the network of the lowest loss on the training rows, the first of several."""
    return [max(sources.states, key=lambda state: sources.score(state)[1])]
