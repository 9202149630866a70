"""Losses of every example at points of weight space: linear combinations of trained networks.

A point is a tuple of coefficients, one for each control point. Each is put together in place, gets
one pass for its BatchNorm statistics, and is evaluated once on all sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from basins.align.batchnorm import ESTIMATES, Folded
from basins.data.images import Evaluation
from basins.data.resident import Resident
from basins.weights import FlatModule

Coefficients = Callable[[float], Sequence[float]]
Point = tuple[float, ...]
Precision = Literal["fp32", "bf16"]
# By (batchnorm mode, evaluation set): one evaluation for each point.
Curves = Mapping[tuple[str, str], Sequence[Evaluation]]


class Examples(Protocol):
    """Labelled examples on the device, in batches that suit it."""

    @property
    def order(self) -> Tensor | None:
        """The dataset's row [n] of each emitted example, or None where they come in order."""
        ...

    @property
    def merge(self) -> Tensor | None:
        """The class of the examples that each class of the network [K] counts as, or None."""
        ...

    def batches(self) -> Iterator[tuple[tuple[Tensor | None, ...], Tensor]]:
        """Yield the network's positional inputs and the labels, every example once."""
        ...


@torch.inference_mode()
def evaluate(net: nn.Module, data: Examples, precision: Precision = "fp32") -> Evaluation:
    """Return loss and correctness of each example; the net is used as it is, in evaluation mode."""
    net.eval()
    losses, correct = [], []
    with _autocast(net, precision):
        for inputs, labels in data.batches():
            output = net(*inputs)
            logits = getattr(output, "logits", output).float()
            answers = logits.argmax(dim=1)
            if data.merge is not None:  # the probability of a class is that of all that merge in it
                other = data.merge != labels[:, None]
                merged = logits.masked_fill(other, -torch.inf).logsumexp(dim=1)
                losses.append(logits.logsumexp(dim=1) - merged)
                answers = data.merge[answers]
            else:
                losses.append(functional.cross_entropy(logits, labels, reduction="none"))
            # Of what is not a number the first class is the largest, and no class is right.
            correct.append((answers == labels) & losses[-1].isfinite())
    found = Evaluation(torch.cat(losses).cpu().numpy(), torch.cat(correct).cpu().numpy())
    if data.order is None:
        return found
    rows = np.argsort(data.order.cpu().numpy())
    return Evaluation(found.losses[rows], found.correct[rows])


class Engine:
    """One network whose weights are put together in place, point after point."""

    def __init__(self, net: nn.Module) -> None:
        """Take over `net`: its weights become views of one flat vector."""
        self.net = net
        self.flat = FlatModule(net)
        self.folded = Folded(net)

    def along(
        self,
        controls: Sequence[Tensor],
        points: Sequence[Point],
        batchnorm: Mapping[str, Resident | None],
        sets: Mapping[str, Examples],
        precision: Precision = "fp32",
    ) -> Curves:
        """Evaluate every point, a combination of `controls` (flat weights [size]), on all `sets`.

        `batchnorm` names what BatchNorm's statistics are at a point, and the images they are taken
        from: `interpolate` takes from none, but the same combination of the controls' statistics as
        of their weights; `reset` and `reset_cued` (cumulative averages) and `moving` (MMC's moving
        average) re-estimate them on their images, at the ends of a path as well. Returns, by
        (batchnorm, set), one evaluation for each point.
        """
        found: dict[tuple[str, str], list[Evaluation]] = {
            (mode, name): [] for mode in batchnorm for name in sets
        }
        for point in points:
            combine(controls, point, out=self.flat.vector)
            # In this order: moving starts from the interpolated statistics, resets from none.
            for mode in sorted(batchnorm):
                function = self.settle(mode, batchnorm[mode], precision)
                for name, data in sets.items():
                    found[mode, name].append(evaluate(function, data, precision))
        return found

    def settle(
        self, mode: str, calibration: Resident | None, precision: Precision = "fp32"
    ) -> nn.Module:
        """Give the present weights their BatchNorm statistics; return the function to evaluate."""
        if estimate := ESTIMATES.get(mode):
            assert calibration is not None, mode
            with _autocast(self.net, precision):
                estimate(self.net, calibration)
        return self.folded.refresh()


def combine(controls: Sequence[Tensor], point: Sequence[float], out: Tensor) -> None:
    """Write the sum of `point[i] * controls[i]` into `out` [size].

    A coefficient of exactly 0 or 1 leaves no rounding, so that the ends of a path are its models.
    """
    out.zero_()
    for control, coefficient in zip(controls, point, strict=True):
        if coefficient:
            out.add_(control, alpha=coefficient)


def _autocast(net: nn.Module, precision: Precision) -> torch.autocast:
    device = next(net.parameters()).device.type
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")
