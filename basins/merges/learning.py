"""Learns the coefficients of a merge on training rows by gradient descent.

It is shared by techniques that learn only a few mixing coefficients and leave the networks' weights
unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from basins.errors import UserError
from basins.merges.sources import Sources
from basins.nets.outputs import logits_of
from basins.weights import State

Loss = Callable[[Tensor, Tensor], Tensor]


def learned(
    sources: Sources,
    coefficients: Sequence[Tensor],
    build: Callable[[], State],
    loss: Loss,
    *,
    steps: int,
    rate: float,
    batch: int,
    decay: float = 0.0,
) -> None:
    """Train `coefficients` in place by AdamW on batches of training rows.

    If networks have tasks, a step sums the losses of one batch of each task, with that task's head.

    Args:
        sources: the networks and training rows.
        coefficients: the learned tensors; leaves of the autograd graph.
        build: computes the network's tensors from them, differentiably. The network is in
            evaluation mode.
        loss: maps logits [b, classes] and labels [b] to a scalar.
        steps: of AdamW, at least 0.
        rate: AdamW's learning rate, above 0.
        batch: rows per step, at least 1.
        decay: AdamW's weight decay.

    Raises:
        UserError: the loss is not finite.
    """
    numbers = range(len(sources.tasks) or 1)
    nets = [sources.at(sources.states[k], k) for k in numbers]
    heads = [task.head for task in sources.tasks] or [{}]
    optimiser = torch.optim.AdamW(coefficients, lr=rate, weight_decay=decay)
    streams = [sources.rows(k).shuffled(batch, sources.generator) for k in numbers]
    for step in range(steps):
        value, merged = torch.zeros(()), build()
        for net, head, batches in zip(nets, heads, streams, strict=True):
            inputs, labels = next(batches)
            output = functional_call(net, merged | head, tuple(inputs))
            value = value.to(labels.device) + loss(logits_of(output), labels)
        if not value.isfinite():
            raise UserError(f"step {step + 1}: the loss is {float(value)}; lower the rate ({rate})")
        slopes = torch.autograd.grad(value, list(coefficients))
        for coefficient, slope in zip(coefficients, slopes, strict=True):
            coefficient.grad = slope
        optimiser.step()


def weighted(stack: Tensor, shares: Tensor) -> Tensor:
    """Return the sum of networks' tensors [K, ...] weighted by `shares` [K]."""
    return torch.tensordot(shares.to(stack.dtype), stack, 1)
