"""CCA-Merge: units mixed so as to correlate most with the first network's (Horoi et al. 2024).

Canonical correlation analysis pairs directions, not units, so that a feature that one network
spreads over several units can meet one that another has in one.
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
    """Bring every network's units to the first one's by `transform`, and average all (section 4).

    What writes a unit is mixed by the transform and what reads it by its inverse, which leaves a
    layer's function as it was but for its ReLU. Running variances are mixed by the squares, as
    those of independent units: BatchNorm is to be reset. `regularisation`, in units of the mean
    variance, is added to variances. Residual streams with LayerNorm, and heads and what lies in
    them, are matched one to one, as in `zipit`. Activations are those on the training rows.
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
    """Return the matrix [n, n] that makes a network's units the other's, from covariances [n, n].

    Units y become T y; `between` has the first network's in its rows. The canonical directions of
    either side, in order, are taken for each other: T = A^(1/2) U V' B^(-1/2), where A and B are
    the regularised covariances of the two and U S V' is the singular value decomposition of
    A^(-1/2) C B^(-1/2). Directions without any correlation stay.
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
    """Return a state whose units are mixed by the transform of their group."""
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
