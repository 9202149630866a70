"""Last-layer retraining on frozen features, LLRT (Kirichenko et al. 2023, as in MMC)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from basins.data.resident import Resident
from basins.training import sgd
from basins.training.features import features, last_layer


def finetune(
    net: nn.Module,
    clean: Resident,
    cued: Resident,
    order: torch.Generator,
    *,
    epochs: sgd.Epochs = 200,
    batch_size: sgd.BatchSize = 256,
    lr: sgd.Rate = 30.0,
    momentum: sgd.Momentum = 0.9,
    weight_decay: sgd.Weight = 0.0,
) -> Iterator[dict[str, Any]]:
    """Replace the last layer of `net` by one trained on `clean`; yield log rows as `scratch` does.

    Everything else is frozen in evaluation mode, so features of the clean images are computed once
    and reused in all epochs. The new layer has the default initialisation of `nn.Linear`. The
    defaults are those of Mechanistic Mode Connectivity (Table 1, LLR).

    Args:
        net: the network, whose last layer is its `head`.
        clean: images without the cue, on the device.
        cued: not used.
        order: draws the new layer and the batches.
        epochs: at least 1.
        batch_size: at least 2.
        lr: above 0; it follows a cosine to 0.
        momentum: in [0, 1).
        weight_decay: at least 0.

    Raises:
        UserError: the loss diverges, or `net` has no linear layer `head`.
    """
    head = last_layer(net)
    net.eval()
    with torch.no_grad():
        read = torch.cat([features(net, *inputs)[0] for inputs, _ in clean.batches()])
        bound = head.in_features**-0.5
        for weights in head.parameters():
            weights.copy_(torch.empty(weights.shape).uniform_(-bound, bound, generator=order))
    yield from sgd.fit(
        head,
        read.__getitem__,
        clean.labels,
        order,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        schedule="cosine",
    )
