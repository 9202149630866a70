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
    epochs, no augmentation; `sgd.fit` describes the schedules. Batches are drawn from `order`, the
    first `fork` steps' from one that all orders share. Log rows: epoch, its last lr, and its mean
    training loss (nats) and accuracy. Raises `UserError` when the loss diverges.
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
