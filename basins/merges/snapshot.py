"""Snapshot ensembles (Huang et al. 2017, section 3): members from the ends of annealing cycles."""

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
    """Return the networks at the end of each cycle of every run, which sets out from a source.

    The paper's only run sets out from new weights; here each source has been trained already.

    Args:
        sources: the networks and training rows.
        cycles: of each run, at least 1; as many members come of it.
        steps: of a cycle, at least 1.
        rate: the learning rate at the start of a cycle, above 0; over its steps it falls to 0, as
            half a cosine (equation 2).
        momentum: of SGD, from 0 to below 1.
        batch: rows of a step, at least 1.

    Raises:
        UserError: when the loss is not finite.
    """
    rates = [rate / 2 * (1 + cos(pi * (step % steps) / steps)) for step in range(cycles * steps)]
    return [
        copied(state)
        for source in sources.states
        for taken, state in enumerate(run(sources, source, rates, momentum, batch), start=1)
        if taken % steps == 0
    ]
