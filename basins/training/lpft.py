"""Linear probing, then fine-tuning: LP-FT (Kumar et al. 2022, as in MMC)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from basins.data.resident import Resident
from basins.training import llrt, naive, sgd


def finetune(
    net: nn.Module,
    clean: Resident,
    cued: Resident,
    order: torch.Generator,
    *,
    head_epochs: sgd.Epochs = 200,
    head_lr: sgd.Rate = 30.0,
    epochs: sgd.Epochs = 20,
    batch_size: sgd.BatchSize = 256,
    lr: sgd.Rate,
    momentum: sgd.Momentum = 0.9,
    weight_decay: sgd.Weight = 1e-4,
    precision: sgd.Precision = "fp32",
) -> Iterator[dict[str, Any]]:
    """Retrain the last layer of `net` (`llrt`), then fine-tune all of it (`naive`); yield log rows.

    For a small net, a `head_lr` of 30 can make the last layer so large that fine-tuning destroys
    the features. The defaults are those of Mechanistic Mode Connectivity (Table 1, LPFT).

    Args:
        net: the network, whose last layer is its `head`.
        clean: images without the cue, on the device.
        cued: not used.
        order: draws the new layer and the batches.
        head_epochs: for the last layer alone, at least 1.
        head_lr: for the last layer alone, above 0; it follows a cosine to 0.
        epochs: of fine-tuning, at least 1.
        batch_size: for both, at least 2.
        lr: of fine-tuning, above 0; it follows a cosine to 0.
        momentum: for both, in [0, 1).
        weight_decay: of fine-tuning, at least 0; it is 0 for the last layer alone.
        precision: of fine-tuning.

    Yields:
        Rows as in `scratch`; the first `head_epochs` are the last layer's, and epochs are numbered
        consecutively.

    Raises:
        UserError: the loss diverges, or `net` has no linear layer `head`.
    """
    yield from llrt.finetune(
        net,
        clean,
        cued,
        order,
        epochs=head_epochs,
        batch_size=batch_size,
        lr=head_lr,
        momentum=momentum,
    )
    for row in naive.finetune(
        net,
        clean,
        cued,
        order,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        precision=precision,
    ):
        yield row | {"epoch": head_epochs + row["epoch"]}
