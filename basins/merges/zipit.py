"""ZipIt!: similar units are merged, within and across networks (Stoica et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import nn

from basins.align import activation_matching, activations
from basins.align.permute import permute
from basins.merges.ot_fusion import correlated, mix
from basins.merges.sources import Sources
from basins.merges.traits import Traits
from basins.nets.permutation import Axis, Net, PermutationSpec
from basins.weights import State

BEHIND = 3  # more than the largest difference of two correlations
Share = Annotated[float, Field(ge=0, le=1)]

TRAITS = Traits("alignment", rows=True, cost="K forward")


def merge(sources: Sources, *, repeat: Share = 0.1, within: Share = 1.0) -> list[State]:
    """Merge the K n units of a group into n features, most correlated first (section 4).

    A feature is the mean of its units, and replaces each of them. `repeat` and `within` are as in
    `zipped`. Correlations are of activations on all training rows, on which each network is run
    once. Residual streams with LayerNorm, attention heads and the units in them can be permuted but
    not mixed within a network: they are matched one to one with the first source's
    (`activation_matching`) and averaged.
    """
    sources.one_task()
    spec, numbers = sources.net.permutation_spec(), range(len(sources.states))
    pairs = [(k, k) for k in numbers] + list(combinations(numbers, 2))
    correlations = dict(zip(pairs, correlated(sources, pairs), strict=True))
    free = [group for group in spec.groups if is_free(group, spec, sources.net)]
    states = [
        matched(sources, k, correlations[0, k], [g for g in spec.groups if g not in free])
        for k in numbers
    ]
    features = {}
    for group in free:
        blocks = {pair: modules[group] for pair, modules in correlations.items()}
        features[group] = zipped(blocks, len(sources.states), repeat=repeat, within=within)
    return [_merged(states, spec, features, sources.net)]


def matched(
    sources: Sources, k: int, correlations: activations.Correlations, groups: Sequence[str]
) -> State:
    """Return network `k` with the units of some groups matched one to one with the first's."""
    if k == 0 or not groups:
        return sources.states[k]
    spec = sources.net.permutation_spec()
    found = activation_matching.align(
        sources.states[0],
        sources.states[k],
        spec,
        generator=sources.generator,
        correlations=correlations,
    )
    return permute(sources.states[k], spec, {group: found[group] for group in groups})


def zipped(
    correlations: Mapping[tuple[int, int], np.ndarray], nets: int, *, repeat: float, within: float
) -> np.ndarray:
    """Return the number of each unit's feature, int [nets, n], of n features in total.

    `correlations` [n, n] are between the units of networks i and j, for every i <= j. The two most
    correlated features are merged repeatedly. A merged feature's correlation with another is the
    smaller of its two parts', and if positive is multiplied by `repeat` if both contain a unit of
    the same network: at 0, a feature contains several units of one network only if nothing else is
    left. At most the share `within` of a network's units is merged only with units of their own
    network, and more only if nothing else is left. Constant units count as equal.
    """
    size = len(correlations[0, 0])
    count = nets * size
    scores = np.empty((nets, size, nets, size))
    for (i, j), block in correlations.items():
        scores[i, :, j], scores[j, :, i] = block, block.T
    scores = scores.reshape(count, count)
    dead = np.diag(scores) == 0
    scores[np.ix_(dead, dead)] = 1
    np.fill_diagonal(scores, -np.inf)

    feature = np.arange(count)
    members = np.repeat(np.eye(nets, dtype=bool), size, 0)  # networks of each feature
    left = np.full(nets, int(within * size))
    for network in np.flatnonzero(left == 0).tolist():
        _part(scores, members, network)
    highest = scores.max(1)  # upper bound of each row, as scores only decrease
    for _ in range(count - size):
        a, b = _pair(scores, highest)
        both = members[a] & members[b]
        alone = both.any() and members[[a, b]].sum() == 2
        members[a] |= members[b]
        lower = np.minimum(scores[a], scores[b])
        discount = (lower > 0) & (members & members[a]).any(1)
        scores[a] = scores[:, a] = lower * np.where(discount, repeat, 1)
        scores[b] = scores[:, b] = highest[b] = -np.inf
        feature[feature == b] = a
        if alone:
            network = int(both.argmax())
            left[network] -= 1
            if left[network] == 0:
                _part(scores, members, network)
    return np.unique(feature, return_inverse=True)[1].reshape(nets, size)


def _pair(scores: np.ndarray, highest: np.ndarray) -> tuple[int, int]:
    """Return the position of the highest score, tightening the bounds on the way."""
    while True:
        a = int(highest.argmax())
        b = int(scores[a].argmax())
        if scores[a, b] == highest[a]:
            return a, b
        highest[a] = scores[a, b]


def _part(scores: np.ndarray, members: np.ndarray, network: int) -> None:
    """Lower the scores of pairs of features of this network alone below all others."""
    own = members[:, network] & (members.sum(1) == 1)
    scores[np.ix_(own, own)] -= BEHIND


def is_free(group: str, spec: PermutationSpec, net: Net) -> bool:
    """Return whether a group's units may be mixed: not in blocks, windows or with a LayerNorm."""
    return all(
        axis.block == 1 and axis.window is None and not isinstance(_module(net, axis), nn.LayerNorm)
        for axis in spec.groups[group]
    )


def _merged(
    states: Sequence[State], spec: PermutationSpec, features: Mapping[str, np.ndarray], net: Net
) -> State:
    """Return the features' weights: the mean of units' incoming and the sum of outgoing ones.

    Tensors that no feature writes are averaged over networks.
    """
    total = {
        name: torch.zeros_like(tensor) if tensor.is_floating_point() else tensor
        for name, tensor in states[0].items()
    }
    for k, state in enumerate(states):
        moved = {name: t / len(states) for name, t in state.items() if t.is_floating_point()}
        for group, feature in features.items():
            counts = np.bincount(feature.ravel(), minlength=feature.shape[1])
            membership = np.eye(feature.shape[1])[feature[k]].T  # [features, units]
            reading = torch.from_numpy(membership)
            writing = torch.from_numpy(len(states) * membership / counts[:, None])
            for axis in spec.groups[group]:
                matrix = reading if reads(net, axis) else writing
                moved[axis.tensor] = mix(moved[axis.tensor], axis, matrix)
        for name, tensor in moved.items():
            total[name] += tensor
    return total


def reads(net: Net, axis: Axis) -> bool:
    """Return whether an axis is that of a layer's inputs, so that it reads a group's units."""
    return axis.dim == 1 and not isinstance(_module(net, axis), nn.Embedding)


def _module(net: Net, axis: Axis) -> nn.Module:
    return net.get_submodule(axis.tensor.rpartition(".")[0])
