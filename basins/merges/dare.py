"""DARE (Yu et al. 2024, section 3.2): drop most of each task vector and rescale the rest."""

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
    """Return the base plus the thinned task vectors merged by task arithmetic or TIES.

    Tensors missing from the base are averaged.

    Args:
        sources: the networks and their base.
        drop: the probability of dropping an entry, independently of others, in [0, 1).
        then: `task_arithmetic` or `ties`.
        coefficient: the coefficient of either.
        density: the density of TIES, which trims the remaining entries again, in (0, 1]
            (mergekit's `dare_ties` does not trim, which is 1).
        rescale: whether kept entries are divided by 1 - `drop`, which preserves the mean.
        weights: the networks' weights in either, above 0; 1 by default.

    Raises:
        UserError: there is no base, or the number of `weights` is wrong.
    """
    shares = by_model(weights, sources, "weights")

    def formula(tasks: Tensor) -> Tensor:
        left = dropped(tasks, drop, sources.generator) * (1 if rescale else 1 - drop)
        if then == "ties":
            return coefficient * elected(trimmed(left, density), weights=shares)
        return coefficient * total(left, shares)

    return [sources.moved(formula, "vector" if then == "ties" else "tensor")]


def dropped(vectors: Tensor, drop: float | Tensor, generator: np.random.Generator) -> Tensor:
    """Set each entry to 0 with probability `drop`; divide the others by 1 - `drop`."""
    drawn = torch.from_numpy(generator.random(tuple(vectors.shape))).to(vectors.device)
    return (vectors / (1 - drop)).where(drawn >= drop, 0)
