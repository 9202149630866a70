"""Exponential moving average of the weights along a run (Polyak and Juditsky 1992)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from basins.merges.sources import Sources, mixed
from basins.merges.traits import Traits
from basins.merges.trajectory import BATCH, Count, Momentum, Rate, copied, run
from basins.weights import State

TRAITS = Traits(
    "aggregation", rows=True, labels=True, gradients=True, cost="a batch backward a step, K times"
)


def merge(
    sources: Sources,
    *,
    steps: Count = 20,
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    rate: Rate = 0.01,
    momentum: Momentum = 0.9,
    batch: Count = BATCH,
) -> list[State]:
    """Return the mean, over sources, of the moving average along a run from each source.

    The average is initialised with the source.

    Args:
        sources: the networks and training rows.
        steps: of each run, at least 1.
        decay: the weight of the previous average at each step, in [0, 1).
        rate: the learning rate, above 0.
        momentum: of SGD, in [0, 1).
        batch: rows per step, at least 1.

    Raises:
        UserError: the loss is not finite.
    """
    averages = []
    for source in sources.states:
        average = copied(source)
        for state in run(sources, source, [rate] * steps, momentum, batch):
            average = mixed([average, state], [decay, 1 - decay])
        averages.append(average)
    return [mixed(averages)]
