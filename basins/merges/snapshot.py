"""Snapshot ensembles (Huang et al. 2017, section 3): members at the ends of annealing cycles."""

from __future__ import annotations

from math import cos, pi

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
    cycles: Count = 2,
    steps: Count = 10,
    rate: Rate = 0.05,
    momentum: Momentum = 0.9,
    batch: Count = BATCH,
) -> list[State]:
    """Return the networks at the end of each cycle of runs that start from each source.

    The paper has one run, from random weights; here the sources have already been trained.

    Args:
        sources: the networks and training rows.
        cycles: per run, at least 1; each gives one member.
        steps: per cycle, at least 1.
        rate: the learning rate at the start of a cycle, above 0; it is annealed to 0 by a cosine
            (equation 2).
        momentum: of SGD, in [0, 1).
        batch: rows per step, at least 1.

    Raises:
        UserError: the loss is not finite.
    """
    rates = [rate / 2 * (1 + cos(pi * (step % steps) / steps)) for step in range(cycles * steps)]
    return [
        copied(state)
        for source in sources.states
        for taken, state in enumerate(run(sources, source, rates, momentum, batch), start=1)
        if taken % steps == 0
    ]
