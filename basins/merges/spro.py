"""SPRO (Benton et al. 2021, sections 3 and 4): members from simplices with trained vertices."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import factorial
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD

from basins.errors import UserError
from basins.merges.sources import Sources, mixed, mixture
from basins.merges.traits import Traits
from basins.merges.trajectory import BATCH, Count, Momentum, Rate, copied
from basins.nets.outputs import logits_of
from basins.weights import State, other_names

TRAITS = Traits(
    "ensembling", rows=True, labels=True, gradients=True, cost="a batch backward a step, a vertex"
)
FLAT = 1e-4
"""Added to squared volumes, so that the logarithm is finite for a flat simplex; as the authors."""


def merge(
    sources: Sources,
    *,
    members: Count = 8,
    vertices: Count = 2,
    steps: Annotated[int, Field(ge=0)] = 50,
    volume: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1,
    rate: Rate = 0.01,
    momentum: Momentum = 0.9,
    batch: Count = BATCH,
) -> list[State]:
    """Return `members` drawn uniformly from a simplicial complex with one simplex per network.

    A simplex consists of a network and trained vertices that all simplices share, which connect
    networks even if there are barriers in the simplex of the networks alone (`simplicial`). The
    vertices are trained one after the other, each from the mean of the networks and the vertices
    before it. A step minimises the loss of a batch at a point of a simplex, both drawn uniformly,
    minus `volume` times the logarithm of the complex's volume. Without steps, members lie between
    the networks and their mean.

    Rate and momentum are those of the authors' code, which trains ten epochs per vertex with much
    smaller weights of the volume (down to 1e-8); our default is for few steps. BatchNorm is in
    training mode, as in other techniques that continue training, and a vertex's running statistics
    are those of its steps.

    Args:
        sources: the networks and training rows.
        members: the number of draws, at least 1.
        vertices: the number of trained vertices, at least 1.
        steps: of SGD for each vertex, at least 0.
        volume: the weight of the volume's logarithm (nats), at least 0.
        rate: the learning rate, above 0.
        momentum: of SGD, in [0, 1).
        batch: rows per step, at least 1.

    Raises:
        UserError: the loss is not finite.
    """
    sources.one_task()
    simplices: list[list[State]] = [[state] for state in sources.states]
    for _ in range(vertices):
        added = _vertex(sources, simplices, steps, volume, rate, momentum, batch)
        simplices = [[*corners, added] for corners in simplices]
    volumes = np.array([float(volume_of(corners, sources.names)) for corners in simplices])
    chosen = sources.generator.choice(len(simplices), members, p=volumes / volumes.sum())
    shares = sources.generator.dirichlet([1.0] * (vertices + 1), members)
    return [mixture(simplices[k], share) for k, share in zip(chosen, shares, strict=True)]


def _vertex(
    sources: Sources,
    simplices: Sequence[Sequence[State]],
    steps: int,
    volume: float,
    rate: float,
    momentum: float,
    batch: int,
) -> State:
    """Return a new vertex of all simplices, trained from the mean of the existing vertices."""
    net, names, generator = sources.net, sources.names, sources.generator
    start = mixed([*sources.states, *simplices[0][1:]])
    vertex = {name: start[name].clone().requires_grad_() for name in names}
    net.load_state_dict(start)
    net.eval()
    for module in net.modules():
        module.train(isinstance(module, _BatchNorm))
    optimiser = SGD(vertex.values(), rate, momentum)
    batches = sources.rows().shuffled(batch, generator)
    for step in range(steps):
        corners = [*simplices[int(generator.integers(len(simplices)))], vertex]
        shares = generator.dirichlet([1.0] * len(corners)).tolist()
        parts = [*zip(shares, corners, strict=True)]
        point = {n: torch.stack([share * c[n] for share, c in parts]).sum(0) for n in names}
        inputs, labels = next(batches)
        output = functional_call(net, point, tuple(inputs))
        loss = functional.cross_entropy(logits_of(output), labels)
        volumes = [volume_of([*others, vertex], names) for others in simplices]
        loss = loss - volume * torch.stack(volumes).sum().log()
        if not loss.isfinite():
            raise UserError(
                f"step {step + 1}: the loss is {float(loss.detach())}; lower the rate ({rate})"
            )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    net.eval()
    found = copied(net.state_dict()) | copied(vertex)
    return found | {name: found[first] for name, first in other_names(net).items()}


def volume_of(corners: Sequence[State], names: Sequence[str]) -> Tensor:
    """Return the square root of a simplex's squared volume plus `FLAT`."""
    return (squared_volume(corners, names) + FLAT).sqrt()


def squared_volume(corners: Sequence[State], names: Sequence[str]) -> Tensor:
    """Return the squared volume of the simplex of n + 1 networks, float64.

    It is the Cayley-Menger determinant of their distances over the tensors `names`.
    """
    n = len(corners) - 1
    device = corners[0][names[0]].device
    bordered = torch.ones(n + 2, n + 2, dtype=torch.double, device=device).fill_diagonal_(0)
    for i, j in combinations(range(n + 1), 2):
        edges = (corners[i][name].double() - corners[j][name].double() for name in names)
        bordered[i, j] = bordered[j, i] = sum(edge.square().sum() for edge in edges)
    return ((-1) ** (n + 1) * bordered.det() / (2**n * factorial(n) ** 2)).clamp_min(0)
