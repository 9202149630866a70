"""Stochastic gradient descent: the training loop shared by the methods of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import cos, pi
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, StepLR

from basins import devices, seeds
from basins.data.resident import Resident, normalise
from basins.errors import UserError

Epochs = Annotated[int, Field(ge=1)]
BatchSize = Annotated[int, Field(ge=2)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Schedule = Literal["one_cycle", "step", "cosine"]
Precision = Literal["fp32", "bf16"]
Fork = Annotated[int, Field(ge=0)]

# Maps the rows [b] of a batch and their labels [b] to sums over the batch of logged quantities.
Step = Callable[[Tensor, Tensor], dict[str, Tensor]]


def fit(
    net: nn.Module,
    inputs: Callable[[Tensor], Tensor],
    labels: Tensor,
    order: torch.Generator,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    momentum: float,
    weight_decay: float,
    schedule: Schedule,
    step_epochs: int = 40,
    precision: Precision = "fp32",
    fork: int = 0,
) -> Iterator[dict[str, Any]]:
    """Fit `net` in place to `labels` by cross-entropy; yield a log row after each epoch.

    Args:
        net: the network, left in evaluation mode.
        inputs: maps rows [b], int64, to the inputs of `net`.
        labels: int64 [n], on the device.
        order: draws the batches.
        epochs: at least 1.
        batch_size: at least 2.
        lr: above 0: the peak of a `one_cycle` schedule, or the initial value of the others.
        momentum: in [0, 1).
        weight_decay: at least 0.
        schedule: `one_cycle`; `step`, which divides lr by ten every `step_epochs`; or `cosine`, to
            0 over all steps.
        step_epochs: at least 1.
        precision: of the forward pass: `fp32`, or `bf16` by autocast.
        fork: the number of first steps with the same batches for all orders, as in `descend`.

    Yields:
        epoch, its last lr, and its mean training loss (nats) and accuracy.

    Raises:
        UserError: as `descend` does.
    """
    optimiser = SGD(net.parameters(), lr, momentum, weight_decay=weight_decay, fused=True)
    steps = steps_of(labels, batch_size)
    scheduler = _scheduler(optimiser, schedule, lr, steps, epochs, step_epochs)
    autocast = torch.autocast(labels.device.type, torch.bfloat16, enabled=precision == "bf16")

    def step(rows: Tensor, targets: Tensor) -> dict[str, Tensor]:
        with autocast:
            logits = net(inputs(rows))
        loss = functional.cross_entropy(logits.float(), targets)
        move(optimiser, loss)
        return sums(logits, targets, loss)

    net.train()
    rows = descend(step, labels, order, scheduler, epochs=epochs, batch_size=batch_size, fork=fork)
    yield from rows
    net.eval()


def descend(
    step: Step,
    labels: Tensor,
    order: torch.Generator,
    scheduler: LRScheduler,
    *,
    epochs: int,
    batch_size: int,
    fork: int = 0,
) -> Iterator[dict[str, Any]]:
    """Take `step` on every batch of `labels`; yield a row after each epoch.

    Args:
        step: maps the rows [b] of a batch and their labels [b] to sums over the batch of logged
            quantities, including the `loss`.
        labels: int64 [n], on the device.
        order: draws the batches.
        scheduler: of the lr, which takes a step after each batch.
        epochs: at least 1.
        batch_size: the last batch of an epoch may be smaller.
        fork: the number of first batches that are the same for all orders, at least 0; the rest of
            that epoch has this order's own: runs that share a prefix (Frankle et al. 2020).

    Yields:
        epoch, its last lr, and the means over its examples of what `step` returns.

    Raises:
        UserError: the loss of an epoch is not finite, or the fork is after the last step.
    """
    steps = steps_of(labels, batch_size)
    if fork > epochs * steps:
        raise UserError(f"fork: step {fork} is not taken; there are {epochs * steps} steps")
    prefix = seeds.torch_generator("order before the fork")
    for epoch in range(1, epochs + 1):
        total: dict[str, Tensor] = {}
        shared = min(max(0, fork - (epoch - 1) * steps) * batch_size, len(labels))
        shuffled = torch.randperm(len(labels), generator=prefix if shared else order)
        if 0 < shared < len(labels):
            left = torch.randperm(len(labels) - shared, generator=order)
            shuffled = torch.cat([shuffled[:shared], shuffled[shared:][left]])
        for rows in shuffled.to(labels.device).split(batch_size):
            rate = scheduler.get_last_lr()[0]
            for name, value in step(rows, labels[rows]).items():
                total[name] = total.get(name, 0) + value.double()
            scheduler.step()
        means = {name: value.item() / len(labels) for name, value in total.items()}
        if not means["loss"] < float("inf"):
            lr = scheduler.optimizer.defaults["lr"]
            raise UserError(
                f"diverged in epoch {epoch}: the loss is {means['loss']}; lower lr ({lr})"
            )
        yield {"epoch": epoch, "lr": rate, **means}


def move(optimiser: Optimizer, loss: Tensor) -> None:
    """Take one gradient step on `loss`."""
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def sums(logits: Tensor, labels: Tensor, loss: Tensor, **terms: Tensor) -> dict[str, Tensor]:
    """Return a batch's sums for the log: correct predictions of `logits` [b, K], and means."""
    hits = (logits.argmax(dim=1) == labels).sum()
    means = {name: term.detach() * len(labels) for name, term in terms.items()}
    return {"loss": loss.detach() * len(labels), "accuracy": hits, **means}


def loader(net: nn.Module, data: Resident) -> Callable[[Tensor], Tensor]:
    """Return a function from rows [b] to images in the memory format fastest for `net`."""
    layout = devices.memory_format(net)
    return lambda rows: normalise(data.images[rows]).contiguous(memory_format=layout)


def steps_of(labels: Tensor, batch_size: int) -> int:
    """Return the number of batches of an epoch over `labels` [n]; the last may be smaller."""
    return -(-len(labels) // batch_size)


def cosine(optimiser: Optimizer, steps: int, held: int = 0) -> LRScheduler:
    """Return a half-cosine schedule from lr to 0 over `steps`, after `held` steps at lr."""
    return LambdaLR(optimiser, lambda done: (1 + cos(pi * max(0, done - held) / steps)) / 2)


def _scheduler(
    optimiser: SGD, schedule: Schedule, lr: float, steps: int, epochs: int, step_epochs: int
) -> LRScheduler:
    if schedule == "step":
        return StepLR(optimiser, step_size=step_epochs * steps)
    if schedule == "cosine":
        return cosine(optimiser, epochs * steps)
    # Momentum stays constant; by default it would cycle too.
    return OneCycleLR(optimiser, lr, epochs * steps, pct_start=0.3, cycle_momentum=False)
