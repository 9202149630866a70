"""Which precision to evaluate a network in, by measurement.

bf16 is worth two to three times fp32 where the hardware has it, and a tenth where it has not. Its
rounding moves losses, but what a barrier needs is differences along a path.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from basins.data.resident import Resident
from basins.paths.engine import Curves, Engine, Examples, Precision, evaluate

TOLERANCE = 0.01  # nats or share of errors, by which a barrier may move
WORTH = 1.2  # times faster that bf16 has to be
POINTS = ((1.0, 0.0), (0.5, 0.5), (0.0, 1.0))


class Trial(NamedTuple):
    """What was measured: how many times faster bf16 is, and how far it moves a barrier at most.

    `moved` is not a number where bf16 is not worth it, and nothing else was tried.
    """

    faster: float
    moved: float

    @property
    def precision(self) -> Precision:
        """The precision to use: bf16 where it is faster and moves no barrier too far."""
        return "bf16" if self.faster >= WORTH and self.moved <= TOLERANCE else "fp32"


def trial(
    engine: Engine,
    controls: Sequence[Tensor],
    batchnorm: Mapping[str, Resident | None],
    sets: Mapping[str, Examples],
    seconds: Callable[[], float] = time.perf_counter,
) -> Trial:
    """Time one set, and where bf16 is faster, compare the middle of a path in both precisions.

    A barrier here is that of the loss or the error at t = 1/2; the largest difference over modes
    and sets counts.

    Args:
        engine: puts networks together and evaluates them.
        controls: the flat weights [size] of two networks.
        batchnorm: the modes, as in `Engine.along`.
        sets: the evaluation sets, by name; the first is timed.
        seconds: the clock.
    """
    engine.along(controls, POINTS[:1], {"interpolate": None}, {})
    function, first = engine.settle("interpolate", None), next(iter(sets.values()))
    took = {"fp32": np.inf, "bf16": np.inf}
    for _ in range(3):
        for precision in ("fp32", "bf16"):
            start = seconds()
            evaluate(function, first, precision)
            if engine.flat.vector.is_cuda:
                torch.cuda.synchronize()
            took[precision] = min(took[precision], seconds() - start)
    faster = took["fp32"] / took["bf16"]
    if faster < WORTH:
        return Trial(faster, float("nan"))
    full, half = (
        _barriers(engine.along(controls, POINTS, batchnorm, sets, precision))
        for precision in ("fp32", "bf16")
    )
    return Trial(faster, float(np.abs(full - half).max()))


def _barriers(curves: Curves) -> np.ndarray:
    """Return the excess of the middle over the ends' mean, of loss and error of every curve."""
    found = []
    for a, middle, b in curves.values():
        for values in ([e.losses for e in (a, middle, b)], [~e.correct for e in (a, middle, b)]):
            start, half, end = (value.mean(dtype=np.float64) for value in values)
            found.append(half - (start + end) / 2)
    return np.array(found)
