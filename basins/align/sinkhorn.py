"""Sinkhorn re-basin: permutations found by gradient ascent (Peña et al. 2023).

Permutations are relaxed to doubly stochastic matrices, which are Sinkhorn projections of free
matrices; the distance of weights is differentiated through them. No data are used (section 3.2).
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

    Adam trains free matrices, initially 0, and Sinkhorn's iterations make them doubly stochastic; a
    temperature would only divide the rate. The objective is the inner product of the reference and
    the mixed weights: for permutations, maximising it minimises the squared distance, and mixtures
    do not gain from being small. All iterates are rounded to permutations, and the best is
    returned, which is no worse than the identity. All computations are in float64.

    Args:
        reference: the weights and buffers of the fixed network, by name.
        moving: those of the network that is permuted.
        spec: the groups of units, and the axes of the tensors that they permute.
        generator: not used.
        steps: of Adam, at least 1; the matrices before each step and after the last are rounded.
        iterations: of Sinkhorn, each of rows and columns; at least 1.
        rate: Adam's learning rate, above 0.

    Returns:
        By group, a permutation int [n] in the form of `permute`.

    Raises:
        UserError: the networks differ in shape.
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
    """Make exp(scores) [..., n, n] doubly stochastic by Sinkhorn's iterations in log space."""
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
        for name in moving.weights:  # one tensor's autograd graph at a time
            (moving.mixed(name, leaves)[0] * reference[name]).sum().backward()
        optimiser.zero_grad()
        for group, matrix in soft.items():
            matrix.backward(leaves[group].grad)
        optimiser.step()
