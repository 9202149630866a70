"""Coefficients of a merge that are learned on training rows by gradient descent.

What the techniques have in common that learn how to mix and not what to mix: the networks stay as
they are, and a few numbers decide.
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
    """Change `coefficients` in place by AdamW on a loss of batches of training rows.

    Where networks have tasks, a step takes a batch of each, with its head, and the sum of losses.

    Args:
        sources: the networks and training rows.
        coefficients: what is learned; leaves of the graph.
        build: makes the network's tensors of them, as part of the graph. The network is in
            evaluation mode.
        loss: from logits [b, classes] and labels [b] to a scalar.
        steps: of AdamW, at least 0.
        rate: of AdamW, above 0.
        batch: rows of a step, at least 1.
        decay: AdamW's weight decay.

    Raises:
        UserError: when the loss is not finite.
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
    """Return the sum of networks' tensors [K, ...] times their `shares` [K]."""
    return torch.tensordot(shares.to(stack.dtype), stack, 1)
