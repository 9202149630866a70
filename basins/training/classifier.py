"""Fine-tuning a text classifier (Linear Connectivity Reveals Generalization Strategies, section 3).

It follows BERT's original script: AdamW, linear warm-up and decay, clipped gradients, dropout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from basins import seeds
from basins.errors import UserError
from basins.training import adamw, sgd
from basins.training.rows import Rows

Epochs = Annotated[int, Field(ge=0)]
Parts = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
Steps = list[Annotated[int, Field(ge=1)]]
Size = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def tune(
    net: nn.Module,
    data: Rows,
    order: torch.Generator,
    keep: Callable[[int], None],
    *,
    epochs: sgd.Epochs = 3,
    batch_size: sgd.BatchSize = 32,
    lr: sgd.Rate = 2e-5,
    warmup: adamw.Share = 0.1,
    weight_decay: sgd.Weight = 0.01,
    clip: adamw.Norm = 1.0,
    checkpoints: Steps = [],  # noqa: B006 (it is read, never written)
    fork: sgd.Fork = 0,
    perturbation: Size = 0.0,
    head_epochs: Epochs = 0,
    head_lr: sgd.Rate = 1e-3,
    head: Parts = ["classifier"],  # noqa: B006
) -> Iterator[dict[str, Any]]:
    """Fine-tune `net` in place by cross-entropy and yield a log row after each epoch.

    The defaults are the paper's for MNLI and QQP; for CoLA it uses 6 epochs without warm-up, decay
    or clipping. Batches are a uniform shuffle of the rows; the last of an epoch may be smaller.
    Dropout draws from torch's global generator.

    Args:
        net: the classifier.
        data: the training rows, on the device.
        order: draws the batches.
        keep: `keep(n)` is called after each step n in `checkpoints`.
        epochs: at least 1.
        batch_size: at least 2.
        lr: the peak learning rate, above 0.
        warmup: the share of steps of the linear warm-up, in [0, 1); lr then decreases to 0.
        weight_decay: of matrices, at least 0; not applied to vectors.
        clip: the largest norm of the gradient over all weights, above 0.
        checkpoints: numbers of steps, counted from 1.
        fork: the number of first steps whose batches are the same for all orders, at least 0.
        perturbation: the size of a perturbation of the weights before the step after `fork`,
            relative to their norm, in a random direction specific to this order (operationalisation
            of the SoK, B.1 and B.4); at least 0.
        head_epochs: the number of epochs for which only the head is trained first, with the rest
            fixed (linear probing, then fine-tuning: Kumar et al. 2022); at least 0. They have the
            same batches for all orders and no dropout, so that equal heads stay equal.
        head_lr: the peak learning rate of these, above 0, with the schedule of `lr`.
        head: prefixes of the names of the head's weights.

    Yields:
        epoch, its last lr, and its mean training loss (nats) and accuracy. Epochs of the head alone
        are all 0.

    Raises:
        UserError: the loss diverges, a step of `checkpoints` or `fork` does not exist, or none
            follows a `fork` with a perturbation, or a head has no weights.
    """
    if head_epochs:
        rates = (batch_size, head_lr, warmup, weight_decay, clip)
        yield from _head_alone(net, data, head, head_epochs, *rates)
    steps = epochs * sgd.steps_of(data.labels, batch_size)
    if late := [step for step in checkpoints if step > steps]:
        raise UserError(f"checkpoints: {late[0]} is not taken; there are {steps} steps")
    if perturbation and fork == steps:
        raise UserError(f"perturbation: there is no step after fork ({fork}); lower fork")
    optimiser = adamw.optimiser([net], lr, weight_decay)
    scheduler = adamw.linear(optimiser, steps, warmup)
    taken = 0

    def step(rows: Tensor, targets: Tensor) -> dict[str, Tensor]:
        nonlocal taken
        if taken == fork and perturbation:
            perturb(net, perturbation, order.initial_seed())
        logits = net(*data.batch(rows)).logits
        loss = functional.cross_entropy(logits, targets)
        adamw.move(optimiser, loss, clip)
        taken += 1
        if taken in checkpoints:
            keep(taken)
        return sgd.sums(logits, targets, loss)

    net.train()
    yield from sgd.descend(
        step, data.labels, order, scheduler, epochs=epochs, batch_size=batch_size, fork=fork
    )
    net.eval()


def _head_alone(
    net: nn.Module,
    data: Rows,
    head: Sequence[str],
    epochs: int,
    batch_size: int,
    lr: float,
    warmup: float,
    weight_decay: float,
    clip: float,
) -> Iterator[dict[str, Any]]:
    """Train the weights whose names start with one of `head`; yield rows as `tune` does."""
    weights = dict(net.named_parameters())
    for part in head:
        if not any(name.startswith(part) for name in weights):
            raise UserError(f"head: no weight's name begins with {part!r}; one is {[*weights][-1]}")
    fixed = [weight for name, weight in weights.items() if not name.startswith(tuple(head))]
    for weight in fixed:
        weight.requires_grad_(False)
    optimiser = adamw.optimiser([net], lr, weight_decay)
    scheduler = adamw.linear(optimiser, epochs * sgd.steps_of(data.labels, batch_size), warmup)

    def step(rows: Tensor, targets: Tensor) -> dict[str, Tensor]:
        logits = net(*data.batch(rows)).logits
        loss = functional.cross_entropy(logits, targets)
        adamw.move(optimiser, loss, clip)
        return sgd.sums(logits, targets, loss)

    net.eval()
    order = seeds.torch_generator("order of the head alone")
    for row in sgd.descend(
        step, data.labels, order, scheduler, epochs=epochs, batch_size=batch_size
    ):
        yield {**row, "epoch": 0}
    for weight in fixed:
        weight.requires_grad_(True)


@torch.no_grad()
def perturb(net: nn.Module, size: float, seed: int) -> None:
    """Move the weights of `net` by `size` times their norm, in the random direction of `seed`."""
    # A separate generator, so that batches and dropout are unaffected.
    generator = torch.Generator().manual_seed(seed)
    noise = [torch.randn(w.shape, generator=generator).to(w.device) for w in net.parameters()]
    norms = [torch.cat([t.flatten() for t in side]).norm() for side in (net.parameters(), noise)]
    for weight, direction in zip(net.parameters(), noise, strict=True):
        weight.add_(direction, alpha=float(size * norms[0] / norms[1]))
