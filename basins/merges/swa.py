"""Stochastic weight averaging (Izmailov et al. 2018, algorithm 1)."""

from __future__ import annotations

from basins.merges.sources import Sources, mixed
from basins.merges.traits import Traits
from basins.merges.trajectory import BATCH, Count, Momentum, Rate, run
from basins.weights import State

TRAITS = Traits(
    "aggregation", rows=True, labels=True, gradients=True, cost="a batch backward a step, K times"
)


def merge(
    sources: Sources,
    *,
    points: Count = 4,
    steps: Count = 5,
    rate: Rate = 0.01,
    momentum: Momentum = 0.9,
    batch: Count = BATCH,
) -> list[State]:
    """Return the mean, over sources, of the mean along a run from each at a constant `rate`.

    A run's mean is over the source and the networks after each `steps` steps, `points` times.

    Args:
        sources: the networks and training rows.
        points: the number of networks of a run that are averaged with the source, at least 1.
        steps: between two of them, at least 1.
        rate: the learning rate, above 0.
        momentum: of SGD, in [0, 1).
        batch: rows per step, at least 1.

    Raises:
        UserError: the loss is not finite.
    """
    means = []
    for source in sources.states:
        mean = mixed([source])
        stations = run(sources, source, [rate] * (points * steps), momentum, batch)
        for taken, state in enumerate(stations, start=1):
            if taken % steps == 0:
                count = 1 + taken // steps
                mean = mixed([mean, state], [1 - 1 / count, 1 / count])
        means.append(mean)
    return [mixed(means)]
