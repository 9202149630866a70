"""Weight matching of Git Re-Basin (Ainsworth et al. 2023, section 3.2), by coordinate descent."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from basins.align.permute import entries, identity, random_permutations
from basins.errors import UserError
from basins.nets.permutation import Axis, PermutationSpec

# Gains below this share of the upper bound of the objective are rounding errors.
TOLERANCE = 1e-10
STATISTICS = ("running_mean", "running_var")


class Matching(NamedTuple):
    """Permutations, and the inner product of the weights matched by them."""

    permutations: dict[str, np.ndarray]
    objective: float


def align(
    reference: dict[str, Tensor],
    moving: dict[str, Tensor],
    spec: PermutationSpec,
    *,
    generator: np.random.Generator,
    restarts: Annotated[int, Field(ge=1)] = 5,
) -> dict[str, np.ndarray]:
    """Return the permutations that bring the weights of `moving` closest to `reference`.

    Args:
        reference: the weights and buffers of the fixed network, by name.
        moving: those of the network that is permuted.
        spec: the groups of units, and the axes of the tensors that they permute.
        generator: draws the starts of all descents but the first.
        restarts: the number of descents, at least 1; the best is returned.

    Returns:
        By group, a permutation int [n] in the form of `permute`.

    Raises:
        UserError: as in `match`.
    """
    return match(reference, moving, spec, generator=generator, restarts=restarts).permutations


def match(
    reference: Mapping[str, Tensor],
    moving: Mapping[str, Tensor],
    spec: PermutationSpec,
    *,
    generator: np.random.Generator,
    restarts: int = 5,
    start: Mapping[str, np.ndarray] | None = None,
) -> Matching:
    """Maximise the inner product of the weights over permutations; the best of `restarts` descents.

    Over the weights that `spec` names, the squared distance is |reference|^2 + |moving|^2 - 2
    objective. Running statistics are permuted with their units but are not in the objective, as
    they are not weights and their scale would dominate. All sums are in float64.

    Args:
        reference: the weights and buffers of the fixed network, by name.
        moving: those of the network that is permuted.
        spec: the groups of units, and the axes of the tensors that they permute.
        generator: draws the starts of all descents but the first, so that with the same stream more
            restarts are never worse.
        restarts: the number of descents, at least 1.
        start: by group, the start of the first descent; by default the identity.

    Raises:
        UserError: spec and states are inconsistent, the networks differ in shape, or a weight is
            not finite.
    """
    spec.check(reference)
    spec.check(moving)
    problem = _Problem(reference, moving, spec)
    for name, ours in problem.reference.items():
        theirs = problem.moving[name]
        if ours.shape != theirs.shape:
            shapes = f"{ours.shape} and {theirs.shape}"
            raise UserError(f"weight matching: {name!r} has shapes {shapes}; match equal networks")
        if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
            raise UserError(f"weight matching: {name!r} is not finite; did a network diverge?")
    best = problem.descend(identity(reference, spec) if start is None else dict(start))
    for _ in range(restarts - 1):
        found = problem.descend(random_permutations(reference, spec, generator))
        best = max(best, found, key=lambda matching: matching.objective)
    return best


def actions(spec: PermutationSpec) -> dict[str, dict[str, list[Axis]]]:
    """Return, by weight, the groups that act on it, in order; running statistics are not weights.

    A group acts on one axis of a weight, possibly in several windows, or on both axes of a
    recurrent weight.
    """
    found: dict[str, dict[str, list[Axis]]] = defaultdict(dict)
    for group, axes in spec.groups.items():
        for axis in axes:
            if not axis.tensor.endswith(STATISTICS):
                found[axis.tensor].setdefault(group, []).append(axis)
    return dict(found)


class _Problem:
    """Both sets of weights in float64, and the groups that act on each tensor, in order."""

    def __init__(
        self, reference: Mapping[str, Tensor], moving: Mapping[str, Tensor], spec: PermutationSpec
    ):
        self.actions = actions(spec)
        self.groups = {
            group: tuple({axis.tensor: 0 for axis in axes if axis.tensor in self.actions})
            for group, axes in spec.groups.items()
        }
        self.reference = {name: reference[name].double().numpy(force=True) for name in self.actions}
        self.moving = {name: moving[name].double().numpy(force=True) for name in self.actions}
        self.twice = {  # groups that act on both axes of a recurrent weight
            group
            for acting in self.actions.values()
            for group, axes in acting.items()
            if len({axis.dim for axis in axes}) > 1
        }
        # The last product for each group and tensor, and the other groups' permutations it used.
        self.products: dict[tuple[str, str], tuple[list[bytes], np.ndarray]] = {}

    def descend(self, permutations: dict[str, np.ndarray]) -> Matching:
        """Solve one group at a time until no group affected by a change can improve.

        Groups are visited in the order of the spec, inputs and residual streams first. It recovered
        a planted permutation of a random BERT in 8 of 8 descents; a random order, as in Git
        Re-Basin, did in 6.
        """
        permutations = dict(permutations)
        threshold = TOLERANCE * _length(self.reference) * _length(self.moving)
        stale = set(self.groups)
        while stale:
            for group in [g for g in self.groups if g in stale]:
                stale.discard(group)
                scores = self.scores(group, permutations)
                units, solution = linear_sum_assignment(scores, maximize=True)
                gain = (scores[units, solution] - scores[units, permutations[group]]).sum()
                if gain > threshold and group in self.twice:  # quadratic: scores are approximate
                    tried = permutations | {group: solution}
                    gain = self.objective(tried) - self.objective(permutations)
                if gain > threshold:
                    permutations[group] = solution
                    touched = {g for name in self.groups[group] for g in self.actions[name]}
                    stale |= touched if group in self.twice else touched - {group}
        return Matching(permutations, self.objective(permutations))

    def scores(self, group: str, permutations: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the gain [n, n] of matching the reference's unit i to unit j, others fixed."""
        return np.sum([self.product(group, n, permutations) for n in self.groups[group]], axis=0)

    def product(self, group: str, name: str, permutations: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return one tensor's part of the scores, cached while its other groups are unchanged."""
        several = self.actions[name][group]
        twice = len({axis.dim for axis in several}) > 1
        others = [permutations[g].tobytes() for g in self.actions[name] if twice or g != group]
        before, product = self.products.get((group, name), (None, None))
        if product is None or before != others:
            left, right = self.sides(name, group, permutations)
            product = np.zeros((len(permutations[group]),) * 2)
            for axis in several:
                theirs = right  # with the group's other axes permuted as currently matched
                for other in several:
                    if other.dim != axis.dim:
                        theirs = _take(theirs, other, permutations[group])
                product += _units(left, axis) @ _units(theirs, axis).T
            self.products[group, name] = others, product
        return product

    def sides(
        self, name: str, group: str | None, permutations: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a tensor of both networks with all groups except `group` applied.

        Groups before it are applied to the moving side; those after it are inverted on the
        reference side.
        """
        left, right = self.reference[name], self.moving[name]
        actions = list(self.actions[name].items())
        place = [g for g, _ in actions].index(group) if group else len(actions)
        for other, axes in actions[:place]:
            for axis in axes:
                right = _take(right, axis, permutations[other])
        for other, axes in reversed(actions[place + 1 :]):
            for axis in axes:
                left = _take(left, axis, np.argsort(permutations[other]))
        return left, right

    def objective(self, permutations: Mapping[str, np.ndarray]) -> float:
        """Return the inner product of the reference and the permuted moving weights."""
        sides = (self.sides(name, None, permutations) for name in self.actions)
        return float(sum(np.vdot(left, right) for left, right in sides))


def _take(tensor: np.ndarray, axis: Axis, permutation: np.ndarray) -> np.ndarray:
    return tensor.take(entries(permutation, axis, tensor.shape[axis.dim]), axis.dim)


def _units(tensor: np.ndarray, axis: Axis) -> np.ndarray:
    """Return the weights of each unit along one axis, [units, weights]."""
    rows = np.moveaxis(tensor, axis.dim, 0)[slice(*axis.window) if axis.window else slice(None)]
    return rows.reshape(len(rows) // axis.block, -1)


def _length(weights: Mapping[str, np.ndarray]) -> float:
    return float(np.sqrt(sum(np.vdot(w, w) for w in weights.values())))
