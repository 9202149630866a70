"""Training from scratch (Mechanistic Mode Connectivity, section 3 of its code)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, StepLR

from basins import devices
from basins.data.resident import Resident, normalise
from basins.errors import UserError


def train(
    net: nn.Module,
    data: Resident,
    order: torch.Generator,
    *,
    epochs: Annotated[int, Field(ge=1)],
    batch_size: Annotated[int, Field(ge=2)],
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)],
    momentum: Annotated[float, Field(ge=0, lt=1)],
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)],
    schedule: Literal["one_cycle", "step"],
    step_epochs: Annotated[int, Field(ge=1)] = 40,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Iterator[dict[str, Any]]:
    """Train `net` in place by SGD on cross-entropy and yield a log row after each epoch.

    `lr` is the peak of a `one_cycle` schedule, or the start of a `step` schedule that divides it by
    ten every `step_epochs` (the paper: lr .1, momentum .9, weight decay 1e-4, batch 256, step 40,
    100 epochs, no augmentation). Batches are drawn from `order`. Log rows: epoch, its last
    lr, and its mean training loss (nats) and accuracy. Raises `UserError` when the loss diverges.
    """
    device, count = data.images.device, len(data.labels)
    optimiser = SGD(net.parameters(), lr, momentum, weight_decay=weight_decay, fused=True)
    scheduler = _scheduler(optimiser, schedule, lr, -(-count // batch_size), epochs, step_epochs)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
    layout = devices.memory_format(net)
    net.train()
    for epoch in range(1, epochs + 1):
        total = torch.zeros(2, dtype=torch.float64, device=device)
        for batch in torch.randperm(count, generator=order).to(device).split(batch_size):
            labels = data.labels[batch]
            with autocast:
                logits = net(normalise(data.images[batch]).contiguous(memory_format=layout))
            loss = functional.cross_entropy(logits.float(), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate = scheduler.get_last_lr()[0]
            scheduler.step()
            hits = (logits.argmax(dim=1) == labels).sum()
            total += torch.stack([loss.detach() * len(labels), hits])
        mean_loss, accuracy = (total / count).tolist()
        if not mean_loss < float("inf"):
            raise UserError(f"diverged in epoch {epoch}: the loss is {mean_loss}; lower lr ({lr})")
        yield {"epoch": epoch, "lr": rate, "loss": mean_loss, "accuracy": accuracy}
    net.eval()


def _scheduler(
    optimiser: SGD, schedule: str, lr: float, steps: int, epochs: int, step_epochs: int
) -> LRScheduler:
    if schedule == "step":
        return StepLR(optimiser, step_size=step_epochs * steps)
    # Momentum stays what the params say; by default it would cycle too.
    return OneCycleLR(optimiser, lr, epochs * steps, pct_start=0.3, cycle_momentum=False)
