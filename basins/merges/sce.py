"""SCE (Wan et al. 2024, FuseChat, section 3.3): select by variance, calculate weights, erase."""

from __future__ import annotations

import torch
from torch import Tensor

from basins.merges.sources import Sources
from basins.merges.ties import Share
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("aggregation", base=True)


def merge(sources: Sources, *, density: Share = 0.1) -> list[State]:
    """Return the base plus the fused task vectors, tensor by tensor.

    `density` is the share of a tensor's entries that is kept, those that vary most over networks
    (the paper's tau, 10 %; mergekit's `select_topk` is 1 by default). Tensors missing from the base
    are averaged. Raises `UserError` if there is no base.
    """
    return [sources.moved(lambda tasks: fused(tasks, density), "tensor")]


def fused(tasks: Tensor, density: float) -> Tensor:
    """Return the weighted mean of task vectors' [K, ...] selected entries that have the sum's sign.

    Networks are weighted by the sum of squares of their selected entries. `density` is the share of
    varying entries that is selected, rounded down; at 1, all entries are. A sum of 0 counts as
    positive, as in mergekit.
    """
    if density < 1:
        variance = tasks.var(0, correction=0)
        kept = variance.flatten().topk(int(density * int(variance.count_nonzero()))).indices
        mask = torch.zeros_like(variance).flatten().scatter(0, kept, 1.0)
        tasks = tasks * mask.view_as(variance)
    squares = tasks.flatten(1).square().sum(1).view(-1, *[1] * (tasks.ndim - 1))
    sign = 2.0 * (tasks.sum(0) >= 0) - 1
    weights = squares * (tasks.sign() == sign)
    mass = weights.sum(0)
    return (weights * tasks).sum(0) / mass.where(mass > 0, 1)
