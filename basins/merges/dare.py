"""DARE (Yu et al. 2024, section 3.2): drop most of each task vector and rescale what is left."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field

from basins.merges.sources import Sources
from basins.merges.task_arithmetic import added, tasks
from basins.merges.ties import Coefficient, Share, elected, trimmed
from basins.weights import State


def merge(
    sources: Sources,
    *,
    drop: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    then: Literal["task_arithmetic", "ties"] = "task_arithmetic",
    coefficient: Coefficient = 0.4,
    density: Share = 0.2,
) -> list[State]:
    """Return the base plus what task arithmetic or TIES makes of the thinned task vectors.

    Every entry is dropped with probability `drop`, independently, and the others are divided by
    1 - `drop`, which keeps their mean. `coefficient` is that of either; `density` is TIES's. Raises
    `UserError` where there is no base.
    """
    vectors = tasks(sources)
    kept = torch.from_numpy(sources.generator.random(tuple(vectors.shape)) >= drop)
    vectors = vectors * kept.to(vectors.device) / (1 - drop)
    if then == "ties":
        vectors = elected(trimmed(vectors, density))[None]
    return [sources.state(added(sources.origin(), vectors, coefficient))]
