"""FedAvg (McMahan et al. 2017, algorithm 1): the mean weighted by numbers of training rows."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from basins.errors import UserError
from basins.merges.sources import Sources, by_model, mixture
from basins.merges.traits import Traits
from basins.weights import State

Counts = Annotated[list[Annotated[float, Field(ge=0, allow_inf_nan=False)]], Field(min_length=1)]

TRAITS = Traits("aggregation")


def merge(sources: Sources, *, rows: Counts | None = None) -> list[State]:
    """Return the mean of the networks weighted by `rows`, one number for each; equal by default.

    This is one round with networks that are already trained. Any weights may be given (mergekit's
    `linear`).
    """
    counts = by_model(rows, sources, "fedavg: rows")
    if not any(counts):
        raise UserError("fedavg: rows: all are 0; give at least one network some")
    return [mixture(sources.states, [count / sum(counts) for count in counts])]
