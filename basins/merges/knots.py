"""KnOTS (Stoica et al. 2025): task matrices are merged in a common basis."""

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

    In the paper these are products of LoRA factors; here they are the changes of any matrix.
    Tensors that are not matrices, or are missing from the base, are averaged. It takes a singular
    value decomposition of all networks' matrices concatenated.

    Args:
        sources: the networks and their base.
        then: how coordinates are merged: by TIES; by DARE and TIES's election without trimming
            (the paper's KnOTS-DARE-TIES); or by their mean, which equals that of the task matrices.
        density: for TIES, the share of each network's coordinates that is kept in each matrix (in
            the authors' code, over all matrices together).
        drop: for DARE, the probability of dropping a coordinate (the authors use .1 for ViTs and .8
            for Llama).
        coefficient: TIES's, 1 as there; the authors tune it for each setting (.6 for ViT-B/32).
        weights: factors of the networks' task vectors, 1 by default.

    Raises:
        UserError: there is no base, or the number of `weights` is wrong.
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
    """Return an orthonormal basis [m, r] of task matrices [K, m, n], and coordinates [K, r, n].

    The coordinates are the right singular vectors of the concatenated matrices times the singular
    values, as in the authors' code, so that `basis @ coordinates` are the task matrices. Directions
    whose singular values are rounding errors are left out, as they would count among the
    coordinates that TIES keeps. At least one direction remains.
    """
    count, _, columns = tasks.shape
    left, values, right = torch.linalg.svd(torch.cat(list(tasks), 1), full_matrices=False)
    rank = max(1, int((values > RANK * values[0]).sum()))
    scaled = values[:rank, None] * right[:rank]
    return left[:, :rank], scaled.view(rank, count, columns).transpose(0, 1)
