"""DARE (Yu et al. 2024, section 3.2): drop most of each task vector and rescale what is left."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from basins.merges.sources import Positive, Sources, by_model
from basins.merges.task_arithmetic import Coefficient, total
from basins.merges.ties import Share, elected, trimmed
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("aggregation", base=True)


def merge(
    sources: Sources,
    *,
    drop: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    then: Literal["task_arithmetic", "ties"] = "task_arithmetic",
    coefficient: Coefficient = 0.4,
    density: Share = 0.2,
    rescale: bool = True,
    weights: Positive | None = None,
) -> list[State]:
    """Return the base plus what task arithmetic or TIES makes of the thinned task vectors.

    What the base lacks is averaged.

    Args:
        sources: the networks and their base.
        drop: the probability that an entry is dropped, each independently, from 0 to below 1.
        then: `task_arithmetic` or `ties`.
        coefficient: that of either.
        density: that of TIES, which trims what is left again, above 0 and at most 1 (mergekit's
            `dare_ties` does not trim: 1).
        rescale: whether entries that stay are divided by 1 - `drop`, which keeps their mean.
        weights: of the networks in either, above 0; 1 by default.

    Raises:
        UserError: where there is no base, or `weights` are not one for each network.
    """
    shares = by_model(weights, sources, "weights")

    def formula(tasks: Tensor) -> Tensor:
        left = dropped(tasks, drop, sources.generator) * (1 if rescale else 1 - drop)
        if then == "ties":
            return coefficient * elected(trimmed(left, density), weights=shares)
        return coefficient * total(left, shares)

    return [sources.moved(formula, "vector" if then == "ties" else "tensor")]


def dropped(vectors: Tensor, drop: float | Tensor, generator: np.random.Generator) -> Tensor:
    """Return vectors with each entry at 0 with probability `drop`, else divided by 1 - `drop`."""
    drawn = torch.from_numpy(generator.random(tuple(vectors.shape))).to(vectors.device)
    return (vectors / (1 - drop)).where(drawn >= drop, 0)
