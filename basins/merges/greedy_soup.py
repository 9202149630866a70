"""Greedy soup (Wortsman et al. 2022, recipe 1): the mean of those networks that help."""

from __future__ import annotations

from basins.merges.sources import Sources, mixed, mixture
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("aggregation", rows=True, labels=True, cost="2 K forward")


def merge(sources: Sources) -> list[State]:
    """Return the mean of the networks that are taken in, the most accurate first.

    One is taken in where the mean with it is no worse on the training rows than without it, so the
    result is no worse there than the best network. Accuracy decides, and the loss between equals:
    the paper's held-out accuracy alone ties often on few rows.
    """
    soup: list[State] = []
    best = (0.0, -float("inf"))
    for state in sorted(sources.states, key=sources.score, reverse=True):
        tried = sources.score(mixed([*soup, state]))
        if tried >= best or not soup:
            soup, best = [*soup, state], tried
    return [mixture(soup)]
