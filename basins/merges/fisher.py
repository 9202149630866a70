"""Fisher merging (Matena and Raffel 2022, section 3.2): the mean weighted by Fisher information."""

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
MEMORY = 2**26  # bytes that the gradients of one chunk of rows may take

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

    If networks have tasks, the information is on the rows of each network's own task.

    Args:
        sources: the networks and training rows.
        labels: the labels of the gradients: `expected`, `drawn` or `given`, as in `diagonal`.
        draws: the number of `drawn` labels for each row, at least 1.
        floor: added to the information, above 0, so that weights without information in any
            network are averaged (1e-6 in the authors' code as well).
        weights: factors of the networks' information, above 0; 1 by default (the paper's lambda).

    Raises:
        UserError: the number of `weights` is wrong.
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
    """Return a network's diagonal Fisher information [P], float64, averaged over training rows.

    It is the mean of squared gradients of single rows' log likelihoods, not of a batch's, so it
    depends neither on the batch size nor on the device. `labels` are `expected`, all classes
    weighted by the network's predictions, which is exact and takes one backward pass per class;
    `drawn` from the predictions, `draws` times (the paper's estimate, one pass each); or those
    `given`, which gives the empirical Fisher information, a different quantity (one pass).
    Gradients are computed for as many rows at once as fit into 64 MiB, at least one. If there are
    tasks, rows and head are those of task `number`.
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
    with sdpa_kernel(SDPBackend.MATH):  # fused attention kernels do not support vmap
        try:
            each = vmap(grad(loss), in_dims=(None, 0, *[0] * len(rows)))
            return each(parameters, answers, *rows)
        except RuntimeError:  # vmap does not support control flow that depends on values
            found = [grad(loss)(parameters, *row) for row in zip(answers, *rows, strict=True)]
            return {name: torch.stack([one[name] for one in found]) for name in parameters}
