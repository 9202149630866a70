"""Sinkhorn re-basin: permutations found by gradient ascent (Peña et al. 2023).

Permutations are relaxed to doubly stochastic matrices, the Sinkhorn projections of free ones, and
the weights' distance is followed through them. The objective needs no data (section 3.2 there).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from basins.align.permute import identity
from basins.align.universe import Mixtures, Problem, hardened, objective
from basins.align.weight_matching import actions
from basins.errors import UserError
from basins.nets.permutation import PermutationSpec
from basins.weights import State

Count = Annotated[int, Field(ge=1)]


def align(
    reference: State,
    moving: State,
    spec: PermutationSpec,
    *,
    generator: np.random.Generator,
    steps: Count = 60,
    iterations: Count = 10,
    rate: Annotated[float, Field(gt=0)] = 0.3,
) -> dict[str, np.ndarray]:
    """Return the permutations that bring the weights of `moving` closest to `reference`.

    Adam moves free matrices, 0 at first, and Sinkhorn's iterations balance them; a temperature
    would do no more than divide the rate. What is maximised is the inner product of the reference
    and the mixed weights: for permutations that is half of what their squared distance loses, and
    mixtures gain nothing from being small. Of all places on the way, made permutations, the best is
    returned, and none worse than the identity. All is in float64.

    Args:
        reference: the weights and buffers of the network that stays, by name.
        moving: those of the network that is permuted.
        spec: the groups of units, and the axes of the tensors that they permute.
        generator: not used, since nothing is drawn.
        steps: of Adam, at least 1; the place before each is looked at, and that after the last.
        iterations: of Sinkhorn, rows and columns once each; at least 1.
        rate: of Adam, above 0.

    Returns:
        By group, a permutation int [n] as `permute` takes it.

    Raises:
        UserError: where the networks differ in shape.
    """
    for name in actions(spec):
        if (shape := reference[name].shape) != (other := moving[name].shape):
            shapes = f"{tuple(shape)} and {tuple(other)}"
            raise UserError(
                f"Sinkhorn re-basin: {name!r} has shapes {shapes}; match equal networks"
            )
    states = [reference, moving]
    stay = identity(reference, spec)
    best, reached = stay, objective(states, spec, [stay, stay])
    for soft in _ascent(reference, Problem([moving], spec), stay, steps, iterations, rate):
        [found] = hardened(soft)
        value = objective(states, spec, [stay, found])
        if value > reached:
            best, reached = found, value
    return best


def balanced(scores: Tensor, iterations: int) -> Tensor:
    """Return exp(scores) [..., n, n] made doubly stochastic by Sinkhorn's iterations, as logs."""
    for _ in range(iterations):
        scores = scores - scores.logsumexp(-2, keepdim=True)
        scores = scores - scores.logsumexp(-1, keepdim=True)
    return scores.exp()


def _ascent(
    reference: State,
    moving: Problem,
    stay: dict[str, np.ndarray],
    steps: int,
    iterations: int,
    rate: float,
) -> Iterator[Mixtures]:
    """Yield the moving network's mixtures [1, n, n] by group, before each step and at the end."""
    free = {
        group: torch.zeros_like(matrix, requires_grad=True)
        for group, matrix in moving.mixtures([stay]).items()
    }
    optimiser = torch.optim.Adam(free.values(), lr=rate, maximize=True)
    for step in range(steps + 1):
        soft = {group: balanced(matrix, iterations) for group, matrix in free.items()}
        leaves = {group: matrix.detach().requires_grad_() for group, matrix in soft.items()}
        yield leaves
        if step == steps:
            break
        for name in moving.weights:  # a graph for one tensor at a time
            (moving.mixed(name, leaves)[0] * reference[name]).sum().backward()
        optimiser.zero_grad()
        for group, matrix in soft.items():
            matrix.backward(leaves[group].grad)
        optimiser.step()
