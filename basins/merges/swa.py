"""Stochastic weight averaging (Izmailov et al. 2018, algorithm 1)."""

from __future__ import annotations

from basins.merges.sources import Sources, mixed
from basins.merges.trajectory import Count, Momentum, Rate, copied, run
from basins.weights import State


def merge(
    sources: Sources,
    *,
    points: Count = 4,
    steps: Count = 5,
    rate: Rate = 0.01,
    momentum: Momentum = 0.9,
) -> list[State]:
    """Return the mean, over sources, of the mean along a run at a constant `rate` from each.

    A run's mean is of the source and the networks after every `steps` steps, `points` times.
    """
    passed = []
    for source in sources.states:
        stations = run(sources, source, [rate] * (points * steps), momentum)
        passed.append(copied(source))
        passed += [copied(s) for taken, s in enumerate(stations, start=1) if taken % steps == 0]
    return [mixed(passed)]
