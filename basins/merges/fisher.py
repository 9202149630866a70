"""Fisher merging (Matena and Raffel 2022, section 3.2): the mean by how much a weight matters."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from basins.merges.sources import Sources, logits
from basins.weights import State


def merge(
    sources: Sources,
    *,
    draws: Annotated[int, Field(ge=1)] = 1,
    floor: Annotated[float, Field(gt=0)] = 1e-6,
) -> list[State]:
    """Return the mean of the networks' weights, each weighted by its diagonal Fisher information.

    `draws` are passes over the training rows. `floor` is added to the information, so that a weight
    that matters to no network is averaged.
    """
    information = torch.stack([diagonal(sources, s, draws) for s in sources.states]) + floor
    weights = sources.weights().double()
    return [sources.state((information * weights).sum(0) / information.sum(0))]


def diagonal(sources: Sources, state: State, draws: int) -> Tensor:
    """Return an unbiased estimate of a network's diagonal Fisher information [P], a row's mean.

    Labels are drawn from the network's own predictions, a batch at a time. Rows' scores are then
    independent with mean 0, so the square of their sum has the mean of the sum of their squares,
    and a batch takes one backward pass, not one a row.
    """
    net = sources.net
    net.load_state_dict(state)
    net.eval()
    named = dict(net.named_parameters())
    parameters = [named[name] for name in sources.names]
    total = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.double)
    total, rows = total.to(parameters[0].device), 0
    for inputs, labels in sources.batches() * draws:
        said = logits(net, inputs)
        drawn = _drawn(said.detach().softmax(1), sources)
        loss = functional.cross_entropy(said, drawn, reduction="sum")
        slopes = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        total += torch.cat([slope.reshape(-1) for slope in slopes]).double().square()
        rows += len(labels)
    return total / rows


def _drawn(probabilities: Tensor, sources: Sources) -> Tensor:
    """Return a class [n] for each row of probabilities [n, classes]."""
    uniform = torch.from_numpy(sources.generator.random((len(probabilities), 1)))
    below = probabilities.double().cumsum(1) < uniform.to(probabilities.device)
    return below.sum(1).clamp_max(probabilities.shape[1] - 1)
