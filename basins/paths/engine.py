"""Losses of every example along paths between networks.

A path is a function `coefficients(t)`: how much of each control point is in the network at `t`.
Each point is put together in place, gets one pass for its BatchNorm statistics, and is evaluated
once on all sets. An end shared by many pairs is evaluated once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from basins.align.batchnorm import folded, reset
from basins.data.images import Evaluation
from basins.data.resident import Resident, normalise
from basins.weights import FlatModule

BATCH = 128  # larger ones fall out of the processor's cache and are slower
Coefficients = Callable[[float], Sequence[float]]


# By (batchnorm mode, evaluation set): one evaluation for each t of a path.
Curves = Mapping[tuple[str, str], Sequence[Evaluation]]


@torch.inference_mode()
def evaluate(net: nn.Module, data: Resident) -> Evaluation:
    """Return loss and correctness of each example; the net is used as it is, in evaluation mode."""
    net.eval()
    losses, correct = [], []
    for images, labels in zip(data.images.split(BATCH), data.labels.split(BATCH), strict=True):
        logits = net(normalise(images)).float()
        losses.append(functional.cross_entropy(logits, labels, reduction="none"))
        correct.append(logits.argmax(dim=1) == labels)
    return Evaluation(torch.cat(losses).cpu().numpy(), torch.cat(correct).cpu().numpy())


def along(
    net: nn.Module,
    controls: Sequence[Tensor],
    coefficients: Coefficients,
    ts: Sequence[float],
    batchnorm: Sequence[str],
    calibration: Resident,
    sets: Mapping[str, Resident],
) -> Curves:
    """Evaluate the path through `controls` (flat weights [size]) at every `t`.

    `batchnorm` names what BatchNorm's statistics are at a point: `interpolate` takes the same
    combination of the controls' statistics as of their weights, `reset` re-estimates them on
    `calibration`, at the ends as well. Returns, by (batchnorm, set), one evaluation for each t.
    """
    flat = FlatModule(net)
    found: dict[tuple[str, str], list[Evaluation]] = {
        (mode, name): [] for mode in batchnorm for name in sets
    }
    for t in ts:
        combine(controls, coefficients(t), out=flat.vector)
        for mode in sorted(batchnorm):  # reset comes last: it overwrites interpolated statistics
            if mode == "reset":
                reset(net, calibration)
            frozen = folded(net)
            for name, data in sets.items():
                found[mode, name].append(evaluate(frozen, data))
    return found


def combine(controls: Sequence[Tensor], coefficients: Sequence[float], out: Tensor) -> None:
    """Write the sum of `coefficients[i] * controls[i]` into `out` [size].

    A coefficient of exactly 0 or 1 leaves no rounding, so that the ends of a path are its models.
    """
    out.zero_()
    for control, coefficient in zip(controls, coefficients, strict=True):
        if coefficient:
            out.add_(control, alpha=coefficient)
