"""Activation matching: units are paired by the correlation of their activations.

Li et al. 2015; Git Re-Basin (Ainsworth et al. 2023), section 3.1; Mechanistic Mode Connectivity,
section 4, whose "LMCP" solves the same assignment on each batch and keeps that of the last one (the
protocol `published`; see `alignments`).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from basins.align import activations
from basins.align.permute import entries
from basins.errors import UserError
from basins.nets.permutation import Axis, PermutationSpec
from basins.weights import State


def align(
    reference: State,
    moving: State,
    spec: PermutationSpec,
    *,
    generator: np.random.Generator,
    correlations: activations.Correlations,
) -> dict[str, np.ndarray]:
    """Return the permutations of `moving` that maximise the sum of units' correlations.

    Each group is one linear assignment, solved exactly and deterministically. For a unit with a
    block of outputs, such as a head, their correlations are summed. If other groups permute the
    entries of a block, the sum is that under the best such permutation, and these groups are solved
    after the block has been permuted.

    Args:
        reference: the weights and buffers of the fixed network, by name.
        moving: those of the network that is permuted.
        spec: the groups of units, and the axes of the tensors that they permute.
        generator: not used.
        correlations: by module, the result of `activations.correlations`: float32 [d, d],
            reference by moving.

    Returns:
        By group, a permutation int [n] in the form of `permute`.

    Raises:
        UserError: a module is missing from `correlations`.
    """
    aligned = dict(correlations)
    reordered = {activations.module(spec, g) for g, axes in spec.groups.items() if axes[0].window}
    permutations = {}
    for group in spec.groups:
        name, units = activations.module(spec, group), spec.size(reference, group)
        if name not in aligned:
            raise UserError(f"activation matching: no correlations of {name!r} given")
        between = aligned[name]
        axis = activations.axis(spec, group, units, len(between))
        between_units = scores(between, axis, free=name in reordered and axis.window is None)
        permutations[group] = linear_sum_assignment(between_units, maximize=True)[1]
        # A later group's window refers to positions, so it needs the units already permuted.
        aligned[name] = between[:, entries(permutations[group], axis, len(between))]
    return permutations


def scores(between: np.ndarray, axis: Axis, *, free: bool) -> np.ndarray:
    """Return the correlations of all pairs of units [n, n], from those of all entries [d, d].

    `free` says that the entries within a unit may be permuted.
    """
    window = slice(*axis.window) if axis.window else slice(None)
    square = between[window, window]
    units = len(square) // axis.block
    tiles = square.reshape(units, axis.block, units, axis.block).swapaxes(1, 2)
    if not free:
        return tiles.trace(axis1=2, axis2=3)
    best = [t[linear_sum_assignment(t, maximize=True)].sum() for row in tiles for t in row]
    return np.reshape(best, (units, units))
