"""Naive fine-tuning of all weights on clean images (Mechanistic Mode Connectivity, Fig. 5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from basins.data.resident import Resident
from basins.training import sgd


def finetune(
    net: nn.Module,
    clean: Resident,
    cued: Resident,
    order: torch.Generator,
    *,
    epochs: sgd.Epochs = 20,
    batch_size: sgd.BatchSize = 256,
    lr: sgd.Rate,
    momentum: sgd.Momentum = 0.9,
    weight_decay: sgd.Weight = 1e-4,
    precision: sgd.Precision = "fp32",
) -> Iterator[dict[str, Any]]:
    """Fine-tune `net` in place on `clean` by SGD, lr by a cosine to 0; yield rows as `scratch`.

    The paper's small, medium and large lr are .001, .01 and .1; the defaults are those of its Table
    1 (FTS, FTM), while its Fig. 5 has 100 epochs.

    Args:
        net: the network.
        clean: images without the cue, on the device.
        cued: not used.
        order: draws the batches.
        epochs: at least 1.
        batch_size: at least 2.
        lr: at the start, above 0.
        momentum: in [0, 1).
        weight_decay: at least 0.
        precision: of the forward pass: `fp32`, or `bf16` by autocast.

    Raises:
        UserError: the loss diverges.
    """
    return sgd.fit(
        net,
        sgd.loader(net, clean),
        clean.labels,
        order,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        schedule="cosine",
        precision=precision,
    )
