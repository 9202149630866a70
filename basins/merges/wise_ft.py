"""WiSE-FT (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", equation 1)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from basins.merges.sources import Sources, mixture
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("aggregation", base=True)


def merge(sources: Sources, *, alpha: Annotated[float, Field(ge=0, le=1)] = 0.5) -> list[State]:
    """Return the point at `alpha` from the base (0) to the mean of the networks (1).

    Running statistics as well. What the base lacks is averaged, whatever `alpha`. Raises
    `UserError` where there is no base.
    """
    count = len(sources.states)
    shares = [1 - alpha, *[alpha / count] * count]
    return [mixture([sources.start(), *sources.states], shares)]
