"""PCB (Du et al. 2024, section 3): parameters compete within a network and between networks."""

from __future__ import annotations

from torch import Tensor

from basins.merges.sources import Scope, Sources
from basins.merges.task_arithmetic import Coefficient
from basins.merges.ties import Share
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("aggregation", base=True)


def merge(
    sources: Sources,
    *,
    density: Share = 0.1,
    coefficient: Coefficient = 1.0,
    scope: Scope = "vector",
) -> list[State]:
    """Return the base plus `coefficient` times the mean of task vectors, weighted by `scores`.

    `density` is the share of each network's entries that has a weight at all (the authors' code:
    .1). Among all entries, as there, or those of a tensor, as in mergekit. What the base lacks is
    averaged. Raises `UserError` where there is no base.
    """

    def formula(tasks: Tensor) -> Tensor:
        weights = scores(tasks, density)
        mass = weights.sum(0)
        return coefficient * (weights * tasks).sum(0) / mass.where(mass > 0, 1)

    return [sources.moved(formula, scope)]


def scores(tasks: Tensor, density: float) -> Tensor:
    """Return the weight of each entry of task vectors [K, ...], from 0 to 1 in each network.

    An entry's score is exp(K s^2), s its size from 0 at the network's smallest to 1 at its largest,
    times tanh of its product with the sum over networks, which is below 0 where it disagrees. The
    lowest score among the largest `density` of a network becomes 0, and so does what is below; the
    highest becomes 1. That is the authors' code, but that it clips the extreme .01 % of entries
    first; the text, and mergekit, take softmaxes over a network's entries.
    """
    flat = tasks.flatten(1)
    inner = (len(flat) * _from_0_to_1(flat.abs()).square()).exp()
    score = inner * (flat * flat.sum(0)).tanh()
    size = flat.shape[1]
    last = max(1, size - int(size * (1 - density)))
    least = score.topk(last, 1).values[:, -1:]
    return _from_0_to_1(score.clamp_min(least)).view_as(tasks)


def _from_0_to_1(values: Tensor) -> Tensor:
    """Return rows of values [K, P] between 0 and 1; all 1 where they are equal."""
    low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    return ((values - low) / (high - low).where(high > low, 1)).where(high > low, 1)
