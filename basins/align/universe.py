"""Cycle-consistent matching of many networks in a common frame (Crisostomi et al. 2024, C2M3).

Every network gets permutations into a frame that belongs to none of them, so that aligning a to b
and then b to c equals aligning a to c. The objective is the sum over pairs of inner products of
permuted weights U, which is (|sum U|^2 - sum |U|^2) / 2. The cost of it and of its gradient thus
grows with the number N of networks and not with the number of pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Annotated

import numpy as np
import torch
from numpy.polynomial import Polynomial
from pydantic import Field
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from basins.align import star
from basins.align.permute import permute, random_permutations
from basins.align.weight_matching import actions
from basins.nets.permutation import Axis, PermutationSpec
from basins.weights import State

# An ascent ends when a step gains less than this share of the upper bound of the objective.
TOLERANCE = 1e-6

Permutations = dict[str, np.ndarray]
# By group, relaxed permutations: doubly stochastic matrices, float64 [N, n, n], whose row i has the
# share of each unit in unit i of the result.
Mixtures = dict[str, Tensor]


def align_all(
    states: Sequence[State],
    spec: PermutationSpec,
    *,
    generator: np.random.Generator,
    restarts: Annotated[int, Field(ge=1)] = 1,
) -> list[Permutations]:
    """Return, for each network, its permutations into the common frame.

    Networks a and b are compared as `permute(a, pa)` and `permute(b, pb)`. The result is the best
    of `restarts` ascents, from the matching of `star` and then from random ones, each start moved
    halfway to the uniform mixture so that the ascent can leave it. Its `objective` is never below
    that of `star`. Sums are in float64, 8 bytes per weight of all networks. Raises `UserError` if
    the networks differ in shape, or a weight is not finite.
    """
    starts = [star.align_all(states, spec, generator=generator)]
    for _ in range(restarts - 1):
        starts.append([random_permutations(state, spec, generator) for state in states])
    problem = Problem(states, spec)
    found = starts[:1]
    for start in starts:
        *_, (mixtures, _) = problem.ascent(softened(problem.mixtures(start)))
        found.append(hardened(mixtures))
    return max(found, key=lambda permutations: objective(states, spec, permutations))


def objective(
    states: Sequence[State], spec: PermutationSpec, permutations: Sequence[Permutations]
) -> float:
    """Return the sum over all pairs of networks of the inner product of their permuted weights.

    It includes all weights that a group of `spec` permutes, but no running statistics.
    """
    moved = [permute(s, spec, p) for s, p in zip(states, permutations, strict=True)]
    return sum(
        float(pairs(torch.stack([state[name] for state in moved]).double()))
        for name in actions(spec)
    )


def pairs(tensors: Tensor) -> Tensor:
    """Return the sum of inner products of all pairs of tensors [N, ...], in O(N)."""
    return (tensors.sum(0).square().sum() - tensors.square().sum()) / 2


class Problem:
    """The weights of all networks, and the objective relaxed to mixtures."""

    def __init__(self, states: Sequence[State], spec: PermutationSpec):
        self.groups = tuple(spec.groups)
        self.actions = actions(spec)
        self.weights = {
            name: torch.stack([state[name] for state in states]).double() for name in self.actions
        }

    def mixtures(self, permutations: Sequence[Permutations]) -> Mixtures:
        """Return permutations as matrices."""
        device = next(iter(self.weights.values())).device
        index = {g: torch.from_numpy(np.stack([p[g] for p in permutations])) for g in self.groups}
        return {
            group: torch.eye(rows.shape[1], dtype=torch.double, device=device)[rows]
            for group, rows in index.items()
        }

    def objective(self, mixtures: Mixtures) -> float:
        """Return the sum of inner products of mixed weights over all pairs."""
        return sum(float(pairs(self.mixed(name, mixtures))) for name in self.weights)

    def gradient(self, mixtures: Mixtures) -> tuple[float, Mixtures]:
        """Return the objective and its gradient, with one tensor's autograd graph at a time."""
        leaves = {group: m.detach().requires_grad_() for group, m in mixtures.items()}
        total = 0.0
        for name in self.weights:
            value = pairs(self.mixed(name, leaves))
            value.backward()
            total += value.item()
        return total, {group: leaf.grad for group, leaf in leaves.items() if leaf.grad is not None}

    def mixed(self, name: str, mixtures: Mixtures) -> Tensor:
        """Return one weight of all networks [N, ...], its groups applied in the spec's order."""
        tensors = self.weights[name]
        for group, axes in self.actions[name].items():
            for axis in axes:
                tensors = _mix(tensors, axis, mixtures[group])
        return tensors

    def ascent(self, mixtures: Mixtures) -> Iterator[tuple[Mixtures, float]]:
        """Run the Frank-Wolfe algorithm (C2M3, section 3); yield each iterate and its objective.

        A step goes towards the permutations with the largest inner product with the gradient, by
        exact line search.
        """
        networks = len(next(iter(mixtures.values())))
        largest = (networks - 1) / 2 * sum(float(w.square().sum()) for w in self.weights.values())
        while True:
            value, gradient = self.gradient(mixtures)
            yield mixtures, value
            goals = {group: _best_vertices(slopes) for group, slopes in gradient.items()}
            slope = sum(float((gradient[g] * (goals[g] - m)).sum()) for g, m in mixtures.items())
            curve = self.curve(mixtures, goals, value, slope)
            turns = [root.real for root in curve.deriv().roots() if abs(root.imag) < 1e-9]
            length = max([1.0, *(turn for turn in turns if 0 < turn < 1)], key=curve)
            if curve(length) - value <= TOLERANCE * largest:
                return
            mixtures = _between(mixtures, goals, length)

    def curve(self, start: Mixtures, goals: Mixtures, value: float, slope: float) -> Polynomial:
        """Return the objective from `start` (at 0, with `value` and `slope`) to `goals` (at 1).

        Mixed weights are polynomials of the step length, so the objective is a polynomial of twice
        their degree and is determined by a few values.
        """
        degree = 2 * max(_degree(chain(*acting.values())) for acting in self.actions.values())
        lengths = np.linspace(0, 1, degree)[1:]
        values = [self.objective(_between(start, goals, length)) for length in lengths]
        powers = lengths[:, None] ** np.arange(2, degree + 1)
        higher = np.linalg.solve(powers, np.array(values) - value - slope * lengths)
        return Polynomial([value, slope, *higher])


def softened(mixtures: Mixtures) -> Mixtures:
    """Return the mean of mixtures and the uniform mixture."""
    return {group: (m + 1 / m.shape[-1]) / 2 for group, m in mixtures.items()}


def hardened(mixtures: Mixtures) -> list[Permutations]:
    """Return, for each network, the permutations closest to its mixtures."""
    columns = {group: _assign(m) for group, m in mixtures.items()}
    networks = len(next(iter(columns.values())))
    return [{group: found[k] for group, found in columns.items()} for k in range(networks)]


def _assign(scores: Tensor) -> np.ndarray:
    """Return, for each matrix of scores [N, n, n], the permutation with the largest sum, [N, n]."""
    return np.stack([linear_sum_assignment(s, maximize=True)[1] for s in scores.numpy(force=True)])


def _between(start: Mixtures, goals: Mixtures, length: float) -> Mixtures:
    return {group: start[group].lerp(goals[group], length) for group in start}


def _best_vertices(gradient: Tensor) -> Tensor:
    columns = torch.from_numpy(_assign(gradient)).to(gradient.device)
    return torch.zeros_like(gradient).scatter_(2, columns[:, :, None], 1)


def _mix(tensors: Tensor, axis: Axis, matrices: Tensor) -> Tensor:
    """Return tensors [N, ...] with the units of `axis` mixed by `matrices` [N, n, n]."""
    rows = tensors.movedim(axis.dim + 1, 1)
    before, inside, after = rows.tensor_split(axis.window or (0, rows.shape[1]), 1)
    mixed = matrices @ inside.reshape(*matrices.shape[:2], -1)
    return torch.cat([before, mixed.view(inside.shape), after], 1).movedim(1, axis.dim + 1)


def _degree(axes: Iterable[Axis]) -> int:
    """Return how many matrices are multiplied into one entry; equal windows count once."""
    spans = {(a.dim, a.block, a.window and a.window[1] - a.window[0]) for a in axes}
    return len(spans)
