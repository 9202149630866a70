"""Uniform soup (Wortsman et al. 2022, section 2): the mean of the weights."""

from __future__ import annotations

from basins.merges.sources import Sources, mixture
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("aggregation")


def merge(sources: Sources) -> list[State]:
    """Return the mean of the networks; for a weighted mean see `fedavg`."""
    return [mixture(sources.states)]
