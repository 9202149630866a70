"""TIES merging (Yadav et al. 2023, algorithm 1): trim, elect signs, average those that agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from basins.merges.sources import Positive, Scope, Sources, by_model
from basins.merges.task_arithmetic import Coefficient
from basins.merges.traits import Traits
from basins.weights import State

Share = Annotated[float, Field(gt=0, le=1)]
Zeros = Literal["none", "positive", "majority"]
Mean = Literal["mean", "sum"]

TRAITS = Traits("aggregation", base=True)


def merge(
    sources: Sources,
    *,
    density: Share = 0.2,
    coefficient: Coefficient = 1.0,
    scope: Scope = "vector",
    rounding: Literal["round", "down"] = "round",
    zeros: Zeros = "none",
    of: Mean = "mean",
    weights: Positive | None = None,
) -> list[State]:
    """Return the base plus `coefficient` times the merged task vector.

    Tensors missing from the base are averaged. Raises `UserError` if there is no base.

    Args:
        sources: the networks and their base.
        density: the share of each task vector's entries that is kept, the largest (20 % in the
            paper). 1 keeps all.
        coefficient: the paper's lambda, 1 without data to tune it (section 4.1).
        scope: whether entries are trimmed among all of a network's, as in the paper and
            fusion_bench, or among those of each tensor, as in mergekit.
        rounding: of the number of entries kept: to the nearest integer, or `down` as in mergekit;
            fusion_bench keeps one more than that.
        zeros: the sign of an entry whose sum is 0: `none`, so that it stays the base's;
            `positive` (mergekit); or the `majority` of the signs of all entries of the scope (the
            paper's code, fusion_bench).
        of: the mean of the entries that agree, or their sum (mergekit's `normalize: false`).
        weights: the networks' weights in election and mean (mergekit's `weight`), 1 by default.
    """
    shares = by_model(weights, sources, "weights")

    def formula(tasks: Tensor) -> Tensor:
        kept = trimmed(tasks, density, rounding)
        return coefficient * elected(kept, zeros=zeros, of=of, weights=shares)

    return [sources.moved(formula, scope)]


def trimmed(
    vectors: Tensor, density: float, rounding: Literal["round", "down"] = "round"
) -> Tensor:
    """Return vectors [K, ...] with all but the largest `density` of each one's entries set to 0.

    At least one is kept, and so are all that equal the smallest kept one in magnitude.
    """
    size = vectors[0].numel()
    kept = max(1, round(density * size) if rounding == "round" else int(density * size))
    thresholds = [v.abs().flatten().kthvalue(size - kept + 1).values for v in vectors]
    return torch.stack(
        [v.where(v.abs() >= smallest, 0) for v, smallest in zip(vectors, thresholds, strict=True)]
    )


def elected(
    vectors: Tensor,
    *,
    zeros: Zeros = "none",
    of: Mean = "mean",
    weights: Sequence[float] | None = None,
) -> Tensor:
    """Return, for every entry of vectors [K, ...], the mean of those with the sign of their sum.

    Zeros do not count. Options are as in `merge`.
    """
    count = vectors.new_tensor([1.0] * len(vectors) if weights is None else weights)
    count = count.view(-1, *[1] * (vectors.ndim - 1))
    sign = (count * vectors).sum(0).sign()
    if zeros != "none":
        other = sign.sum().sign() if zeros == "majority" else 1
        sign = sign.where(sign != 0, other)
    agree = (vectors * sign) > 0
    total = (count * vectors).where(agree, 0).sum(0)
    if of == "sum":
        return total
    mass = (count * agree).sum(0)
    return total / mass.where(mass > 0, 1)
