"""DELLA (Deep et al. 2024, section 3): drop small changes more often than large ones, then TIES."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from basins.errors import UserError
from basins.merges.dare import dropped
from basins.merges.sources import Positive, Sources, by_model
from basins.merges.task_arithmetic import Coefficient
from basins.merges.ties import elected
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("aggregation", base=True)


def merge(
    sources: Sources,
    *,
    drop: Annotated[float, Field(gt=0, lt=1)] = 0.7,
    window: Annotated[float, Field(ge=0, lt=1)] = 0.2,
    ranks: Literal["row", "tensor"] = "row",
    coefficient: Coefficient = 1.0,
    weights: Positive | None = None,
) -> list[State]:
    """Return the base plus `coefficient` times the thinned task vectors merged by TIES's election.

    Every entry is dropped with a probability p that decreases with the rank of its magnitude from
    `drop` + `window` / 2 to `drop` - `window` / 2 (MagPrune), and is otherwise divided by 1 - p,
    which preserves its mean. Tensors missing from the base are averaged.

    Args:
        sources: the networks and their base.
        drop: the probability at the middle rank, in (0, 1).
        window: the difference between the probabilities of the smallest and the largest entry, in
            [0, 1). mergekit's `epsilon` is half of it; mergekit restores a norm instead.
        ranks: whether entries are ranked within a `row` of a matrix, the weights of one unit, as in
            the paper, or within a `tensor`; a bias is one row.
        coefficient: the factor of the merged task vector.
        weights: the networks' weights, as in `ties`, above 0; 1 by default.

    Raises:
        UserError: there is no base, a probability is outside [0, 1), or the number of `weights` is
            wrong.
    """
    if not 0 <= drop - window / 2 <= drop + window / 2 < 1:
        raise UserError(f"della: drop {drop} and window {window} make probabilities outside 0 to 1")
    shares = by_model(weights, sources, "weights")

    def formula(tasks: Tensor) -> Tensor:
        thinned = dropped(tasks, probabilities(tasks, drop, window, ranks), sources.generator)
        return coefficient * elected(thinned, weights=shares)

    return [sources.moved(formula, "tensor")]


def probabilities(
    tasks: Tensor, drop: float, window: float, ranks: Literal["row", "tensor"] = "row"
) -> Tensor:
    """Return the probability that each entry of task vectors [K, ...] is dropped."""
    rows = tasks.flatten(2) if ranks == "row" and tasks.ndim > 2 else tasks.flatten(1)
    size = rows.shape[-1]
    rank = rows.abs().argsort(dim=-1, stable=True).argsort(-1).double()  # 0 is the smallest
    share = rank / (size - 1) if size > 1 else torch.full_like(rank, 0.5)
    return (drop + window * (0.5 - share)).view_as(tasks)
