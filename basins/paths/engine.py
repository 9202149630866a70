"""Points of weight space: linear combinations of trained networks, and the losses there.

A point is a tuple of coefficients, one for each control point. Its weights are assembled in place,
its BatchNorm statistics computed in one pass, and its losses evaluated once on all sets.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from basins import devices
from basins.align.batchnorm import ESTIMATES, Folded
from basins.align.repair import Repair
from basins.data.images import Evaluation
from basins.data.resident import Resident
from basins.data.rows import Rows
from basins.errors import UserError
from basins.paths import evaluation
from basins.paths.evaluation import DoubleEntry, Examples, Precision, autocast, evaluate
from basins.weights import FlatModule, unflatten

Coefficients = Callable[[float], Sequence[float]]
Point = tuple[float, ...]
# By (BatchNorm mode, evaluation set): one evaluation for each point.
Curves = Mapping[tuple[str, str], Sequence[Evaluation]]


class Engine:
    """One network whose weights are assembled in place for one point after another."""

    def __init__(self, net: nn.Module) -> None:
        """Take over `net`: its weights become views of one flat vector."""
        self.net = net
        self.flat = FlatModule(net)
        self.folded = Folded(net)

    @property
    def double_entry(self) -> DoubleEntry:
        """The outcome of computing losses a second time, so far."""
        return evaluation.double_entry(self.folded.function)

    def anew(self) -> DoubleEntry:
        """Start a new double entry, so that its samples do not depend on earlier measurements."""
        evaluation.anew(self.net)  # techniques evaluate it directly
        return evaluation.anew(self.folded.function)

    def along(
        self,
        controls: Sequence[Tensor],
        points: Sequence[Point],
        batchnorm: Mapping[str, Resident | Sequence[Any] | None],
        sets: Mapping[str, Examples],
        precision: Precision = "fp32",
        bends: Collection[int] = (),
    ) -> Curves:
        """Evaluate every point, a combination of `controls`, on all `sets`.

        Args:
            controls: the networks that are combined, as flat weights [size].
            points: for each point the coefficient of each control.
            batchnorm: modes for BatchNorm's statistics, each with its images. `interpolate` uses no
                images, but combines the controls' statistics like their weights; `reset` and
                `reset_cued` (cumulative averages) and `moving` (MMC's moving average) re-estimate
                statistics on their images, at the ends of a path as well. `repair` is REPAIR on its
                images, with or without BatchNorm: units get the mean of the trained networks'
                statistics, weighted by coefficients.
            sets: the evaluation sets, by name.
            precision: `fp32`, or `bf16` by autocast.
            bends: the indices of controls that are not trained networks, but bends fitted to a
                path. REPAIR divides their coefficients equally among the ends: on a Bezier curve or
                a chain the ends' statistics are mixed by 1 - t and t.

        Returns:
            By (batchnorm, set), one evaluation for each point.

        Raises:
            UserError: `repair` is used without images, or for a network without permutation spec.
        """
        found: dict[tuple[str, str], list[Evaluation]] = {
            (mode, name): [] for mode in batchnorm for name in sets
        }
        settled = self.mixer(controls, batchnorm, precision, bends)  # pyright: ignore
        for point in points:
            for mode in batchnorm:
                function = settled(point, mode)
                for name, data in sets.items():
                    found[mode, name].append(evaluate(function, data, precision))
        return found

    def mixer(
        self,
        controls: Sequence[Tensor],
        batchnorm: Mapping[str, Resident | None],
        precision: Precision = "fp32",
        bends: Collection[int] = (),
    ) -> Callable[[Point, str], nn.Module]:
        """Return a function that assembles a point in a BatchNorm mode and returns the network.

        Arguments and errors are those of `along`.
        """
        trained = [k for k in range(len(controls)) if k not in bends]
        repair = None
        if "repair" in batchnorm:
            repair = self._repair([controls[k] for k in trained], batchnorm["repair"], precision)

        def settled(point: Point, mode: str) -> nn.Module:
            combine(controls, point, out=self.flat.vector)
            if mode == "repair" and repair:
                bent = sum(point[k] for k in bends) / len(trained)
                shares = [point[k] + bent for k in trained]
                # A point that equals a trained network keeps that network's statistics.
                if not any(torch.equal(self.flat.vector, controls[k]) for k in trained):
                    with autocast(self.net, precision):
                        repair(shares)
            return self.settle(mode, batchnorm[mode], precision)

        return settled

    def _repair(
        self, controls: Sequence[Tensor], images: Resident | None, precision: Precision
    ) -> Repair:
        net: Any = self.net
        if images is None:
            raise UserError("batchnorm: repair is measured on images, and there are none; leave it")
        like = net.state_dict()
        rows = Rows(images, plain=devices.memory_format(net) is torch.contiguous_format)
        states = [unflatten(control, like) for control in controls]
        with autocast(net, precision):
            return Repair(net, states, lambda: (given for given, _ in rows.pieces()))

    def settle(
        self,
        mode: str,
        calibration: Resident | Sequence[Any] | None,
        precision: Precision = "fp32",
    ) -> nn.Module:
        """Set BatchNorm's statistics for the current weights; return the function to evaluate."""
        if estimate := ESTIMATES.get(mode):
            assert calibration is not None, mode
            with autocast(self.net, precision):
                estimate(self.net, calibration)
        return self.folded.refresh()


def combine(controls: Sequence[Tensor], point: Sequence[float], out: Tensor) -> None:
    """Write the sum of `point[i] * controls[i]` into `out` [size].

    Coefficients of exactly 0 or 1 cause no rounding errors, so the ends of a path equal its models;
    neither does a mixture of equal controls.
    """
    first, *others = controls
    if abs(sum(point) - 1) < 1e-9 and all(_equal(first, other) for other in others):
        out.copy_(first)
        return
    out.zero_()
    for control, coefficient in zip(controls, point, strict=True):
        if coefficient:
            out.add_(control, alpha=coefficient)


def _equal(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one[:64], other[:64]) and torch.equal(one, other)  # most differ early
