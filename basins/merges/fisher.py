"""Fisher merging (Matena and Raffel 2022, section 3.2): the mean by how much a weight matters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from basins.data.rows import Batch
from basins.merges.sources import Positive, Sources, by_model, logits
from basins.merges.traits import Traits
from basins.nets.outputs import logits_of
from basins.weights import State

Labels = Literal["expected", "drawn", "given"]
MEMORY = 2**26  # bytes that the gradients of the rows of a chunk may take

TRAITS = Traits("aggregation", rows=True, gradients=True, cost="C K backward")


def merge(
    sources: Sources,
    *,
    labels: Labels = "expected",
    draws: Annotated[int, Field(ge=1)] = 1,
    floor: Annotated[float, Field(gt=0)] = 1e-6,
    weights: Positive | None = None,
) -> list[State]:
    """Return the mean of the networks' weights, each weighted by its diagonal Fisher information.

    Where networks have tasks, that is the information of its own task's rows.

    Args:
        sources: the networks and training rows.
        labels: that the information is of: `expected`, `drawn` or `given`, as in `diagonal`.
        draws: of `drawn` labels for each row, at least 1.
        floor: what is added to the information, above 0, so that a weight that matters to no
            network is averaged (the authors' code; 1e-6 there as well).
        weights: what the networks' information is multiplied by, above 0; 1 by default (the paper's
            lambda).

    Raises:
        UserError: where `weights` are not one for each network.
    """
    first = sources.vector(sources.states[0]).double()
    total, mass = torch.zeros_like(first), torch.zeros_like(first)
    given = by_model(weights, sources, "fisher: weights")
    for k, (state, weight) in enumerate(zip(sources.states, given, strict=True)):
        information = weight * (diagonal(sources, state, labels, draws, k) + floor)
        total += information * sources.vector(state)
        mass += information
    return [sources.state(total / mass)]


def diagonal(
    sources: Sources, state: State, labels: Labels = "expected", draws: int = 1, number: int = 0
) -> Tensor:
    """Return a network's diagonal Fisher information [P], float64: a training row's mean.

    That is the mean of squared gradients of the log likelihood of single rows, never of a batch's
    sum, so that neither the size of a batch nor the device matters. `labels` are `expected`, all of
    them weighted by the network's own predictions, which is exact and takes a backward pass for
    each class; `drawn` from these, `draws` times (the paper's estimate, one pass each); or those
    `given`, which makes the empirical Fisher information, another quantity (one pass). Gradients of
    several rows are taken at once, as many as fit into 64 MiB, at least one. Where there are tasks,
    rows and head are those of the task of that `number`.
    """
    net = sources.at(state, number)
    named = {name: p.detach() for name, p in net.named_parameters()}
    parameters = {name: named[name] for name in sources.names}
    size = sum(p.numel() for p in parameters.values())
    total = torch.zeros(size, dtype=torch.double, device=parameters[sources.names[0]].device)
    rows = sources.rows(number)
    for inputs, given in rows.pieces(max(1, MEMORY // (4 * size))):
        with torch.no_grad():
            predicted = logits(net, inputs).double().softmax(1)
        weighted = _labels(labels, draws, predicted, given, sources)
        for answers, weights in weighted:
            slopes = _gradients(net, parameters, (inputs, answers))
            squares = [weights @ slopes[name].flatten(1).double().square() for name in parameters]
            total += torch.cat(squares)
    return total / len(rows)


def _labels(
    labels: Labels, draws: int, predicted: Tensor, given: Tensor, sources: Sources
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield labels [n] with the weights [n] of their squared gradients."""
    if labels == "given":
        yield given, torch.ones_like(predicted[:, 0])
    elif labels == "expected":
        for answer in range(predicted.shape[1]):
            yield torch.full_like(given, answer), predicted[:, answer]
    else:
        for _ in range(draws):
            uniform = torch.from_numpy(sources.generator.random((len(predicted), 1)))
            below = predicted.cumsum(1) < uniform.to(predicted.device)
            drawn = below.sum(1).clamp_max(predicted.shape[1] - 1)
            yield drawn, torch.full_like(predicted[:, 0], 1 / draws)


def _gradients(net: torch.nn.Module, parameters: State, batch: Batch) -> State:
    """Return the gradient of each row's cross-entropy by tensor, [n, ...]."""
    inputs, answers = batch
    given = [k for k, x in enumerate(inputs) if x is not None]

    def loss(at: State, answer: Tensor, *row: Tensor) -> Tensor:
        one: list[Tensor | None] = [None] * len(inputs)
        for k, x in zip(given, row, strict=True):
            one[k] = x[None]
        output = functional_call(net, at, tuple(one))
        said = logits_of(output)
        return functional.cross_entropy(said, answer[None])

    rows = [x for x in inputs if x is not None]
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels of attention have no rule for vmap
        try:
            each = vmap(grad(loss), in_dims=(None, 0, *[0] * len(rows)))
            return each(parameters, answers, *rows)
        except RuntimeError:  # a network that looks at values, which vmap cannot follow
            found = [grad(loss)(parameters, *row) for row in zip(answers, *rows, strict=True)]
            return {name: torch.stack([one[name] for one in found]) for name in parameters}
