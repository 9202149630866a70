"""CCA-Merge: linear transforms align units by canonical correlation analysis (Horoi et al. 2024).

It pairs directions, not units, so that a feature which one network spreads over several units can
be matched with a single unit of another.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from basins.merges.ot_fusion import correlated, mix
from basins.merges.sources import Sources, mixed
from basins.merges.traits import Traits
from basins.merges.zipit import is_free, matched, reads
from basins.nets.permutation import PermutationSpec
from basins.weights import State

TRAITS = Traits("alignment", rows=True, cost="K forward")


def merge(sources: Sources, *, regularisation: Annotated[float, Field(gt=0)] = 1e-3) -> list[State]:
    """Align every network's units to the first one's by `transform`, and average (section 4).

    Weights that write to units are multiplied by the transform, and weights that read them by its
    inverse, which preserves a layer's function up to its ReLU. Running variances are mixed by the
    squared transform, as if units were independent, so BatchNorm should be reset. `regularisation`,
    in units of the mean variance, is added to variances. Residual streams with LayerNorm, attention
    heads and the units in them are matched one to one, as in `zipit`. Activations are those on the
    training rows.
    """
    sources.one_task()
    net, count = sources.net, len(sources.states)
    spec = net.permutation_spec()
    pairs = [(0, k) for k in range(1, count)]
    free = [group for group in spec.groups if is_free(group, spec, net)]
    rigid = [group for group in spec.groups if group not in free]
    every = [(k, k) for k in range(count)] + pairs
    covariances = correlated(sources, every, scaled=False)
    own, between = covariances[:count], covariances[count:]
    alike = correlated(sources, pairs) if rigid else [{}] * len(pairs)
    moved = [sources.states[0]]
    for k in range(1, count):
        transforms: dict[str, Tensor] = {}
        for group in free:
            here, there, both = (
                torch.from_numpy(part[group]) for part in (own[0], own[k], between[k - 1])
            )
            transforms[group] = transform(here, there, both, regularisation)
        state = matched(sources, k, alike[k - 1], rigid)
        moved.append(transformed(sources, state, spec, transforms))
    return [mixed(moved)]


def transform(first: Tensor, other: Tensor, between: Tensor, regularisation: float) -> Tensor:
    """Return the matrix T [n, n] that maps `other`'s units y to the first's, from covariances.

    All covariances are [n, n]; the rows of `between` (C) are the first network's units. Canonical
    directions are identified in order: T = A^(1/2) U V' B^(-1/2), where A and B are the regularised
    covariances of the first and the other, and U S V' is the singular value decomposition of
    A^(-1/2) C B^(-1/2). Directions without any correlation are unchanged.
    """
    a, b = (_regularised(part.double(), regularisation) for part in (first, other))
    (root, inverse), (_, other_inverse) = _roots(a), _roots(b)
    whitened = inverse @ between.double() @ other_inverse
    tiny = 1e-9 * torch.eye(len(whitened), dtype=torch.double, device=whitened.device)
    left, _, right = torch.linalg.svd(whitened + tiny)
    return root @ left @ right @ other_inverse


def transformed(
    sources: Sources, state: State, spec: PermutationSpec, transforms: dict[str, Tensor]
) -> State:
    """Return a state whose units are mixed by the transforms of their groups."""
    moved = dict(state)
    for group, matrix in transforms.items():
        reading = torch.linalg.inv(matrix).T
        for axis in spec.groups[group]:
            mixing = reading if reads(sources.net, axis) else matrix
            mixing = mixing.square() if axis.tensor.endswith("running_var") else mixing
            moved[axis.tensor] = mix(moved[axis.tensor], axis, mixing)
    return moved


def _regularised(covariance: Tensor, regularisation: float) -> Tensor:
    level = regularisation * covariance.diag().mean().clamp_min(1e-12)
    return covariance + level * torch.eye(len(covariance), dtype=covariance.dtype)


def _roots(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the symmetric square root of a covariance matrix, and its inverse."""
    values, vectors = torch.linalg.eigh(covariance)
    root = values.clamp_min(1e-300).sqrt()
    return vectors * root @ vectors.T, vectors / root @ vectors.T
