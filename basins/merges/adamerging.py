"""AdaMerging (Yang et al. 2024, section 3): coefficients that minimise entropy, without labels."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from basins.merges.learning import learned, weighted
from basins.merges.sources import Mixture, Sources, mixed
from basins.merges.task_arithmetic import Coefficient
from basins.merges.traits import Traits
from basins.merges.trajectory import Count, Rate
from basins.weights import State

TRAITS = Traits("aggregation", base=True, rows=True, gradients=True, cost="a batch backward a step")


def merge(
    sources: Sources,
    *,
    by: Literal["tensor", "network"] = "tensor",
    coefficient: Coefficient = 0.3,
    steps: Annotated[int, Field(ge=0)] = 100,
    rate: Rate = 1e-3,
    batch: Count = 16,
) -> list[State]:
    """Return the base plus task vectors times coefficients that make its predictions confident.

    The coefficients minimise the entropy of predictions on training rows; labels are not used. All
    defaults but `steps` are the paper's, whose 500 or 1000 steps suit many tasks. Tensors missing
    from the base, such as a common head, are averaged. All networks are in memory at once.

    Args:
        sources: the networks, their base and training rows.
        by: one coefficient for each tensor of a network (`tensor`, the paper's layer-wise), or one
            for each network (`network`, its task-wise).
        coefficient: the initial value of all coefficients.
        steps: of AdamW, at least 0.
        rate: AdamW's learning rate, above 0.
        batch: rows per step, at least 1.

    Raises:
        UserError: there is no base, or the entropy is not finite.
    """
    start, mean = sources.start(), mixed(sources.states)
    assert sources.base is not None
    names = [name for name in sources.names if name in sources.base]
    groups = len(names) if by == "tensor" else 1
    given = torch.full((groups, len(sources.states)), coefficient, dtype=torch.float32)
    given = given.to(start[names[0]].device).requires_grad_()
    tasks = {n: torch.stack([state[n] - start[n] for state in sources.states]) for n in names}
    place = {n: k for k, n in enumerate(names) if by == "tensor"}

    def build() -> State:
        moved = {n: start[n] + weighted(t, given[place.get(n, 0)]) for n, t in tasks.items()}
        return mean | moved

    learned(sources, [given], build, entropy, steps=steps, rate=rate, batch=batch)
    with torch.no_grad():
        found = build()
    if by == "tensor":
        return [found]
    shares = given.detach()[0].tolist()
    parts = [(start, 1 - sum(shares)), *zip(sources.states, shares, strict=True)]
    return [Mixture(found, parts)]


def entropy(logits: Tensor, labels: Tensor | None = None) -> Tensor:
    """Return the mean entropy (nats) of predictions, from logits [n, classes]."""
    said = logits.log_softmax(1)
    return -(said.exp() * said).sum(1).mean()
