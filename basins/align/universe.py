"""Cycle-consistent matching of many networks to one common frame (Crisostomi et al. 2024, C2M3).

Every network gets permutations into a frame that belongs to none of them, so that aligning a to b
and then b to c is aligning a to c. What is maximised is the sum over pairs of the inner products of
permuted weights U. It is (|sum U|^2 - sum |U|^2) / 2, so that its cost and its gradient's grow with
the number of networks N and not with that of pairs.
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

# An ascent ends when a step gains less than this share of the largest possible objective.
TOLERANCE = 1e-6

Permutations = dict[str, np.ndarray]
# By group, what stands for its permutations: doubly stochastic matrices, float64 [N, n, n], of
# which row i says how much of each unit goes into unit i of the result.
Mixtures = dict[str, Tensor]


def align_all(
    states: Sequence[State],
    spec: PermutationSpec,
    *,
    generator: np.random.Generator,
    restarts: Annotated[int, Field(ge=1)] = 1,
) -> list[Permutations]:
    """Return for each network its permutations into the common frame.

    Networks a and b meet as `permute(a, pa)` and `permute(b, pb)`. The best of `restarts` ascents
    from the star's matching, then from random ones, each taken half-way to the uniform mixture,
    which leaves an ascent free to go elsewhere; never worse than the star, by `objective`. Sums are
    in float64: 8 bytes per weight of all networks. Raises `UserError` where the networks differ in
    shape, or a weight is not finite.
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

    Over every weight that a group of `spec` permutes; running statistics do not count.
    """
    moved = [permute(s, spec, p) for s, p in zip(states, permutations, strict=True)]
    return sum(
        float(pairs(torch.stack([state[name] for state in moved]).double()))
        for name in actions(spec)
    )


def pairs(tensors: Tensor) -> Tensor:
    """Return the sum over all pairs of inner products of tensors [N, ...], in O(N)."""
    return (tensors.sum(0).square().sum() - tensors.square().sum()) / 2


class Problem:
    """The weights of all networks, and the objective over mixtures instead of permutations."""

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
        """Return the sum over all pairs of inner products of mixed weights."""
        return sum(float(pairs(self.mixed(name, mixtures))) for name in self.weights)

    def gradient(self, mixtures: Mixtures) -> tuple[float, Mixtures]:
        """Return the objective and its gradient; graphs are kept for one tensor at a time."""
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
        """Climb by Frank-Wolfe (C2M3, section 3); yield each place and its objective.

        A step goes towards the permutations of largest inner product with the gradient, as far as
        is best.
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
        """Return the objective from `start` (at 0, `value` and `slope` known) to `goals` (at 1).

        A mixed weight is a polynomial in the length of the step, so this is one of twice its
        degree, and known exactly from a few values.
        """
        degree = 2 * max(_degree(chain(*acting.values())) for acting in self.actions.values())
        lengths = np.linspace(0, 1, degree)[1:]
        values = [self.objective(_between(start, goals, length)) for length in lengths]
        powers = lengths[:, None] ** np.arange(2, degree + 1)
        higher = np.linalg.solve(powers, np.array(values) - value - slope * lengths)
        return Polynomial([value, slope, *higher])


def softened(mixtures: Mixtures) -> Mixtures:
    """Return mixtures half-way to the uniform one."""
    return {group: (m + 1 / m.shape[-1]) / 2 for group, m in mixtures.items()}


def hardened(mixtures: Mixtures) -> list[Permutations]:
    """Return each network's permutations nearest to its mixtures."""
    columns = {group: _assign(m) for group, m in mixtures.items()}
    networks = len(next(iter(columns.values())))
    return [{group: found[k] for group, found in columns.items()} for k in range(networks)]


def _assign(scores: Tensor) -> np.ndarray:
    """Return for each of scores [N, n, n] the permutation [N, n] of largest sum."""
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
    """Return how many matrices multiply into one entry; windows of one length lie side by side."""
    spans = {(a.dim, a.block, a.window and a.window[1] - a.window[0]) for a in axes}
    return len(spans)
