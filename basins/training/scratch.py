"""Training from scratch (Mechanistic Mode Connectivity, section 3 of its code)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from basins.data.resident import Resident
from basins.training import sgd


def train(
    net: nn.Module,
    data: Resident,
    order: torch.Generator,
    *,
    epochs: sgd.Epochs,
    batch_size: sgd.BatchSize,
    lr: sgd.Rate,
    momentum: sgd.Momentum,
    weight_decay: sgd.Weight,
    schedule: sgd.Schedule,
    step_epochs: Annotated[int, Field(ge=1)] = 40,
    precision: sgd.Precision = "fp32",
    fork: sgd.Fork = 0,
) -> Iterator[dict[str, Any]]:
    """Train `net` in place by SGD on cross-entropy and yield a log row after each epoch.

    The paper: lr .1, momentum .9, weight decay 1e-4, batch 256, schedule `step` of 40 epochs, 100
    epochs, no augmentation.

    Args:
        net: the network.
        data: the training images, on the device.
        order: draws the batches.
        epochs: at least 1.
        batch_size: at least 2.
        lr: above 0: the peak of the schedule `one_cycle`, else the initial value.
        momentum: in [0, 1).
        weight_decay: at least 0.
        schedule: `one_cycle`, `step` or `cosine`, described in `sgd.fit`.
        step_epochs: the number of epochs after which `step` divides lr by ten, at least 1.
        precision: of the forward pass: `fp32`, or `bf16` by autocast.
        fork: the number of first steps whose batches are the same for all orders, at least 0.

    Yields:
        epoch, its last lr, and its mean training loss (nats) and accuracy.

    Raises:
        UserError: the loss diverges, or the fork is after the last step.
    """
    return sgd.fit(
        net,
        sgd.loader(net, data),
        data.labels,
        order,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        schedule=schedule,
        step_epochs=step_epochs,
        precision=precision,
        fork=fork,
    )
