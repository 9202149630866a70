"""Routing without a trained gate: each example is classified by the most confident network.

Mixtures of experts, such as WeMoE (Tang et al. 2024), route by trained gates, which change the
architecture. Here the gate is the entropy of each network's prediction, by which DaWin (Oh et al.
2025) weights networks for each example; only the network with the lowest entropy is used.
"""

from __future__ import annotations

from basins.merges.sources import Sources
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("ensembling", mixes=False)


class Routed(list[State]):
    """Members of an ensemble of which only the one with the lowest entropy predicts an example."""


def merge(sources: Sources) -> Routed:
    """Return all networks as routed members; neither training rows nor labels are used."""
    return Routed(sources.states)
