"""Fast geometric ensembles (Garipov et al. 2018, section 4): members from cyclic learning rates."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

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
    cycles: Annotated[int, Field(ge=1)] = 2,
    steps: Annotated[int, Field(ge=2, multiple_of=2)] = 10,
    high: Rate = 0.05,
    low: Rate = 0.005,
    momentum: Momentum = 0.9,
    batch: Count = BATCH,
) -> list[State]:
    """Return the networks at the middle of each cycle of runs that start from each source.

    Over a cycle the rate falls linearly from `high` to `low` and rises again; a member is collected
    when it is `low`. The last cycle ends there.

    Args:
        sources: the networks and training rows.
        cycles: per run, at least 1; each gives one member.
        steps: per cycle, an even number.
        high: the learning rate at the ends of a cycle, above 0.
        low: the learning rate at its middle, above 0.
        momentum: of SGD, in [0, 1).
        batch: rows per step, at least 1.

    Raises:
        UserError: the loss is not finite.
    """
    rates = [rate(step, steps, high, low) for step in range(1, cycles * steps - steps // 2 + 1)]
    return [
        copied(state)
        for source in sources.states
        for taken, state in enumerate(run(sources, source, rates, momentum, batch), start=1)
        if taken % steps == steps // 2
    ]


def rate(step: int, steps: int, high: float, low: float) -> float:
    """Return the rate of a step, counted from 1, in cycles of `steps` (the paper's alpha(i))."""
    t = ((step - 1) % steps + 1) / steps
    return (1 - 2 * t) * high + 2 * t * low if t <= 0.5 else (2 - 2 * t) * low + (2 * t - 1) * high
