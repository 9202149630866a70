"""OT fusion: units are matched by optimal transport, and averaged (Singh & Jaggi 2020)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from basins.align import activations
from basins.align.activation_matching import scores
from basins.align.activations import Correlations, module
from basins.align.transport import coupling
from basins.align.weight_matching import actions
from basins.merges.sources import Sources
from basins.merges.traits import Traits
from basins.nets.permutation import Axis, PermutationSpec
from basins.weights import State, flatten, unflatten

TRAITS = Traits("alignment", cost="none, or K forward")


def merge(
    sources: Sources,
    *,
    regularisation: Annotated[float, Field(ge=0)] = 0.0,
    by: Literal["weights", "activations"] = "weights",
) -> list[State]:
    """Transport every source's units to the first source's, and average all (sections 3 and 4).

    Layer by layer, a unit is described by its incoming weights, after transporting their inputs, or
    by its standardised activations on the training rows. All units have the same mass. The cost of
    a pair is the squared distance, which for activations is 2 - 2 r. `regularisation` is the weight
    of Sinkhorn's entropy, in units of the mean cost. At 0, the default and the authors' `exact`,
    units are matched one to one. Raises `UserError` if Sinkhorn's iterations do not converge.
    """
    sources.one_task()
    first, *others = sources.states
    spec = sources.net.permutation_spec()
    moved = [first]
    pairs = [(0, k) for k in range(1, len(sources.states))]
    seen = correlated(sources, pairs) if by == "activations" else [None] * len(pairs)
    for other, between in zip(others, seen, strict=True):
        if between is None:
            found = couplings(first, other, spec, regularisation)
        else:
            found = by_activations(first, spec, between, regularisation)
        moved.append(transported(other, spec, found))
    mean = torch.stack([flatten(state) for state in moved]).mean(0)
    return [unflatten(mean, first)]


def couplings(
    reference: State, moving: State, spec: PermutationSpec, regularisation: float = 0.0
) -> dict[str, Tensor]:
    """Return, by group, the share of each moving unit in each unit of the reference.

    The matrices are float64 [n, n], with rows that sum to 1, row i for unit i of the reference. A
    group is solved on the tensors whose other groups have been solved before it: in a chain of
    layers, the incoming weights (for the last group also the head, which the paper leaves out); for
    a residual stream, the weights that write to it first.
    """
    acting = actions(spec)
    solved: dict[str, Tensor] = {}
    for group in spec.groups:
        cost = 0.0
        for name, axes in acting.items():
            others = [g for g in axes if g != group and not _beside(axes[g], axes.get(group))]
            if group in axes and solved.keys() >= set(others):
                theirs = moving[name].double()
                for other in others:
                    for axis in axes[other]:
                        theirs = mix(theirs, axis, solved[other])
                both = (reference[name].double(), theirs)
                ours, theirs = (torch.cat([units(x, a) for a in axes[group]], 1) for x in both)
                apart = torch.cdist(ours, theirs, compute_mode="donot_use_mm_for_euclid_dist")
                cost = cost + apart**2
        assert isinstance(cost, Tensor), group
        solved[group] = coupling(cost, regularisation, f"ot_fusion, {group}")
    return solved


def correlated(
    sources: Sources, pairs: Sequence[tuple[int, int]], *, scaled: bool = True
) -> list[Correlations]:
    """Return the correlations, or else covariances, of units in pairs of networks."""
    nets = [copy.deepcopy(sources.net) for _ in sources.states]
    for net, state in zip(nets, sources.states, strict=True):
        net.load_state_dict(state)
    batches = (inputs for inputs, _ in sources.rows().pieces())
    spec = sources.net.permutation_spec()
    return activations.correlations(nets, spec, batches, pairs, scaled=scaled)


def by_activations(
    reference: State, spec: PermutationSpec, between: Correlations, regularisation: float = 0.0
) -> dict[str, Tensor]:
    """Return `couplings` computed from the units' correlations, [reference, moving].

    Groups and their order are those of `activation_matching`, to which it reduces at a
    regularisation of 0.
    """
    seen = {name: torch.from_numpy(values).double() for name, values in between.items()}
    reordered = {module(spec, group) for group, axes in spec.groups.items() if axes[0].window}
    found: dict[str, Tensor] = {}
    for group in spec.groups:
        name = module(spec, group)
        place = activations.axis(spec, group, spec.size(reference, group), len(seen[name]))
        free = name in reordered and place.window is None
        alike = torch.from_numpy(scores(seen[name].numpy(), place, free=free))
        where = f"ot_fusion, {group}"
        found[group] = coupling(2 * (place.block - alike), regularisation, where)
        seen[name] = mix(seen[name], place, found[group])
    return found


def transported(state: State, spec: PermutationSpec, matrices: Mapping[str, Tensor]) -> State:
    """Return `state` with the units of every group, and their statistics, mixed by its matrix."""
    moved = dict(state)
    for group, axes in spec.groups.items():
        for axis in axes:
            moved[axis.tensor] = mix(moved[axis.tensor], axis, matrices[group])
    return moved


def mix(tensor: Tensor, axis: Axis, matrix: Tensor) -> Tensor:
    """Return a tensor whose unit i along `axis` is the sum of `matrix[i, j]` times unit j."""
    rows = tensor.movedim(axis.dim, 0)
    start, stop = axis.window or (0, len(rows))
    inside = rows[start:stop]
    mixed = (matrix.to(tensor) @ inside.reshape(len(matrix), -1)).view(inside.shape)
    return torch.cat([rows[:start], mixed, rows[stop:]]).movedim(0, axis.dim)


def units(tensor: Tensor, axis: Axis) -> Tensor:
    """Return the entries that belong to each unit of `axis`, [units, entries]."""
    rows = tensor.movedim(axis.dim, 0)[slice(*axis.window) if axis.window else slice(None)]
    return rows.reshape(len(rows) // axis.block, -1)


def _beside(first: Sequence[Axis], second: Sequence[Axis] | None) -> bool:
    """Return whether both groups are windows of an axis, like the units of different heads."""
    return bool(first[0].window and second and second[0].window)
