"""Stochastic weight averaging (Izmailov et al. 2018, algorithm 1)."""

from __future__ import annotations

from basins.merges.sources import Sources, mixed
from basins.merges.trajectory import BATCH, Count, Momentum, Rate, run
from basins.weights import State


def merge(
    sources: Sources,
    *,
    points: Count = 4,
    steps: Count = 5,
    rate: Rate = 0.01,
    momentum: Momentum = 0.9,
    batch: Count = BATCH,
) -> list[State]:
    """Return the mean, over sources, of the mean along a run at a constant `rate` from each.

    A run's mean is of the source and the networks after every `steps` steps, `points` times.
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
