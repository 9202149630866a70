"""WiSE-FT (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", equation 1)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from basins.merges.sources import Positive, Sources, by_model, mixture
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("aggregation", base=True)


def merge(
    sources: Sources,
    *,
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.5,
    weights: Positive | None = None,
) -> list[State]:
    """Return the point at `alpha` from the base (0) to the mean of the networks (1).

    `weights` are the networks' weights in the mean, 1 by default. Running statistics are
    interpolated as well. Tensors missing from the base are averaged, whatever `alpha` is. Raises
    `UserError` if there is no base.
    """
    given = by_model(weights, sources, "wise_ft: weights")
    shares = [1 - alpha, *(alpha * weight / sum(given) for weight in given)]
    return [mixture([sources.start(), *sources.states], shares)]
