"""Greedy soup (Wortsman et al. 2022, recipe 1): the mean of the networks that help."""

from __future__ import annotations

from basins.merges.sources import Sources, mixed, mixture
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("aggregation", rows=True, labels=True, cost="2 K forward")


def merge(sources: Sources) -> list[State]:
    """Add networks to a mean, the most accurate first, if they do not make it worse.

    The mean with a network must be no worse on the training rows than without it, so the result is
    no worse there than the best network. Accuracy decides, and the loss in case of ties, as the
    paper's criterion, held-out accuracy, is often tied on few rows.
    """
    soup: list[State] = []
    best = (0.0, -float("inf"))
    for state in sorted(sources.states, key=sources.score, reverse=True):
        tried = sources.score(mixed([*soup, state]))
        if tried >= best or not soup:
            soup, best = [*soup, state], tried
    return [mixture(soup)]
