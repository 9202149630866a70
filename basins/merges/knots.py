"""KnOTS (Stoica et al. 2025): task matrices merged in a basis that they share."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from basins.merges.dare import dropped
from basins.merges.sources import Sources, by_model
from basins.merges.spectral import by_matrix
from basins.merges.task_arithmetic import Coefficient, Weights
from basins.merges.ties import Share, elected, trimmed
from basins.merges.traits import Traits
from basins.weights import State

RANK = 1e-5  # of the largest singular value: smaller ones are rounding of float32 weights

TRAITS = Traits("aggregation", base=True)


def merge(
    sources: Sources,
    *,
    then: Literal["ties", "dare", "mean"] = "ties",
    density: Share = 0.2,
    drop: Annotated[float, Field(ge=0, lt=1)] = 0.1,
    coefficient: Coefficient = 1.0,
    weights: Weights | None = None,
) -> list[State]:
    """Return the base plus `coefficient` times task matrices merged in their common basis.

    The paper's are products of LoRA's factors; here they are what any matrix has changed by. Other
    tensors are averaged, and so is what the base lacks. A singular value decomposition of all
    networks' matrices side by side.

    Args:
        sources: the networks and their base.
        then: what merges the coordinates: TIES; DARE and the means of TIES without a trim, as the
            paper's KnOTS-DARE-TIES; or the mean, which is that of the task matrices.
        density: of TIES, the share of each network's coordinates that is kept, of each matrix (in
            the authors' code of all matrices together).
        drop: of DARE, the probability that a coordinate is dropped (the authors' .1 for ViTs; their
            .8 for Llama).
        coefficient: that of TIES, 1 as there; the authors choose one by setting (.6 for ViT-B/32).
        weights: multiply each network's task vector first, 1 by default.

    Raises:
        UserError: where there is no base, or `weights` are not one for each network.
    """
    factors = by_model(weights, sources, "knots: weights")

    def formula(tasks: Tensor) -> Tensor:
        basis, coordinates = tied(tasks)
        if then == "ties":
            merged = elected(trimmed(coordinates, density))
        elif then == "dare":
            merged = elected(dropped(coordinates, drop, sources.generator))
        else:
            merged = coordinates.mean(0)
        return basis @ merged

    def moved(tasks: Tensor) -> Tensor:
        return coefficient * by_matrix(tasks, formula)

    return [sources.moved(moved, "tensor", factors)]


def tied(tasks: Tensor) -> tuple[Tensor, Tensor]:
    """Return an orthonormal basis [m, r] of task matrices [K, m, n], and their coordinates.

    These, [K, r, n], are the right singular vectors of all matrices side by side, times the
    singular values as in the authors' code, so that `basis @ coordinates` are the task matrices.
    Directions whose singular value is rounding are left out: they would count among the coordinates
    that TIES keeps. At least one stays.
    """
    count, _, columns = tasks.shape
    left, values, right = torch.linalg.svd(torch.cat(list(tasks), 1), full_matrices=False)
    rank = max(1, int((values > RANK * values[0]).sum()))
    scaled = values[:rank, None] * right[:rank]
    return left[:, :rank], scaled.view(rank, count, columns).transpose(0, 1)
