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

    `density` is the share of each network's entries with a weight above 0 (.1 in the authors'
    code), among all entries, as there, or those of each tensor, as in mergekit. Tensors missing
    from the base are averaged. Raises `UserError` if there is no base.
    """

    def formula(tasks: Tensor) -> Tensor:
        weights = scores(tasks, density)
        mass = weights.sum(0)
        return coefficient * (weights * tasks).sum(0) / mass.where(mass > 0, 1)

    return [sources.moved(formula, scope)]


def scores(tasks: Tensor, density: float) -> Tensor:
    """Return the weight of each entry of task vectors [K, ...], in [0, 1].

    An entry's score is exp(K s^2), where s is its magnitude scaled to [0, 1] within the network,
    times tanh of its product with the sum over networks, which is negative if it disagrees with the
    sum. A network's scores are then scaled so that the highest becomes 1 and the lowest among its
    top `density` becomes 0, as do all below. This follows the authors' code, which also clips the
    extreme .01 % of entries first; the paper's text and mergekit use softmaxes over entries.
    """
    flat = tasks.flatten(1)
    inner = (len(flat) * _from_0_to_1(flat.abs()).square()).exp()
    score = inner * (flat * flat.sum(0)).tanh()
    size = flat.shape[1]
    last = max(1, size - int(size * (1 - density)))
    least = score.topk(last, 1).values[:, -1:]
    return _from_0_to_1(score.clamp_min(least)).view_as(tasks)


def _from_0_to_1(values: Tensor) -> Tensor:
    """Scale each row of values [K, P] to [0, 1]; a row of equal values becomes 1."""
    low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    return ((values - low) / (high - low).where(high > low, 1)).where(high > low, 1)
