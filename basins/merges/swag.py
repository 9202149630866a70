"""SWAG (Maddox et al. 2019, algorithm 1): members drawn from a Gaussian fitted along a run."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from basins.merges.sources import Sources
from basins.merges.traits import Traits
from basins.merges.trajectory import BATCH, Count, Momentum, Rate, copied, run
from basins.weights import State

TRAITS = Traits(
    "ensembling",
    rows=True,
    labels=True,
    gradients=True,
    cost="a batch backward a step, K times",
    mixes=False,
)


def merge(
    sources: Sources,
    *,
    members: Count = 2,
    points: Annotated[int, Field(ge=2)] = 8,
    rank: Annotated[int, Field(ge=2)] = 4,
    steps: Count = 2,
    rate: Rate = 0.01,
    momentum: Momentum = 0.9,
    batch: Count = BATCH,
) -> list[State]:
    """Return `members` drawn for each source, from a run at a constant `rate` that starts there.

    The members of all runs form one ensemble (MultiSWAG, Wilson and Izmailov 2020). Running
    statistics are those of the run's last network.

    Args:
        sources: the networks and training rows.
        members: the number of draws for each source, at least 1.
        points: the number of networks of a run to which the Gaussian is fitted, at least 2.
        rank: the number of the last of these to which its low-rank part is fitted, at least 2.
        steps: from the source to the first of them, and between two of them; at least 1.
        rate: the learning rate, above 0.
        momentum: of SGD, in [0, 1).
        batch: rows per step, at least 1.

    Raises:
        UserError: the loss is not finite.
    """
    found = []
    for source in sources.states:
        stations = run(sources, source, [rate] * (points * steps), momentum, batch)
        passed = [copied(s) for taken, s in enumerate(stations, start=1) if taken % steps == 0]
        weights = torch.stack([sources.vector(state) for state in passed])
        last = sources._replace(states=passed[-1:])
        for drawn in samples(weights, rank, members, sources.generator):
            found.append(last.state(drawn))
    return found


def samples(points: Tensor, rank: int, count: int, generator: np.random.Generator) -> Tensor:
    """Return draws [count, P] from SWAG's Gaussian for the points [T, P] of a run.

    Its mean is that of the points; its covariance is half of their diagonal variances plus half of
    D D' / (R - 1), where D are the deviations of the last R points, each from the mean up to it.
    """
    points = points.double()
    mean = points.mean(0)
    spread = (points.square().mean(0) - mean.square()).clamp_min(0).sqrt()
    seen = torch.arange(1, len(points) + 1, device=points.device)[:, None]
    deviations = (points - points.cumsum(0) / seen)[-rank:]

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(generator.standard_normal(shape)).to(points.device)

    wide = normal(count, points.shape[1]) * spread / 2**0.5
    low = normal(count, len(deviations)) @ deviations / (2 * (len(deviations) - 1)) ** 0.5
    return mean + wide + low
