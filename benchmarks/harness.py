"""Side-by-side timing: interleaved runs, the median of paired ratios and its bootstrap bound."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from basins import seeds

RESAMPLES = 10_000
HEADER = f"{'':66}{'median':>8}{'bound':>12}{'must':>8}{'aim':>6}  {'reached':8}{'FLOPs':>7}"


@dataclass(frozen=True)
class Row:
    """One measured quantity, compared with its required and its desired value.

    `unit` is `x` (a ratio, higher is better), `%` or `s`. `low` is the one-sided 95 % bound: the
    lower one, or the upper one if the quantity must be `at_most` its goals `must` and `aim`.
    `flops` is the same ratio in FLOPs; `detail` contains sizes, seconds and checks.
    """

    name: str
    unit: str
    estimate: float
    low: float
    must: float | None
    aim: float | None
    flops: float | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    at_most: bool = False

    @property
    def reached(self) -> str:
        """The strictest goal that the bound meets: `aim`, `must`, or `no`; empty without goals."""
        if self.must is None and self.aim is None:
            return ""
        for name, goal in (("aim", self.aim), ("must", self.must)):
            if goal is not None and (self.low <= goal if self.at_most else self.low >= goal):
                return name
        return "no"

    def __str__(self) -> str:
        sign = "<=" if self.at_most else ">="
        goals = [f"{goal:g}" if goal is not None else "" for goal in (self.must, self.aim)]
        flops = f"{self.flops:.2f} x" if self.flops is not None else ""
        return (
            f"{self.name:66}{self.estimate:6.2f} {self.unit}{f'{sign} {self.low:.2f}':>12}"
            f"{goals[0]:>8}{goals[1]:>6}  {self.reached:8}{flops:>7}"
        )


def rounds(sides: Sequence[Callable[[], object]], repetitions: int) -> np.ndarray:
    """Return seconds [sides, repetitions], measured A B A B ... after one warm-up of each."""
    for side in sides:
        side()
    return np.array([[seconds(side) for side in sides] for _ in range(repetitions)]).T


def interleaved(
    baseline: Callable[[], object], ours: Callable[[], object], repetitions: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return seconds [repetitions] of each, measured A B A B after one warm-up of each."""
    first, second = rounds((baseline, ours), repetitions)
    return first, second


def ratio(
    name: str,
    baseline_seconds: np.ndarray,
    our_seconds: np.ndarray,
    *,
    must: float | None,
    aim: float | None,
    flops: float | None = None,
    **detail: Any,
) -> Row:
    """Return the row of a speed-up: the median of the ratios of paired times [repetitions]."""
    detail |= {
        "baseline_seconds": baseline_seconds.tolist(),
        "our_seconds": our_seconds.tolist(),
    }
    quotients = baseline_seconds / our_seconds
    return quantity(name, "x", quotients, must=must, aim=aim, flops=flops, **detail)


def quantity(
    name: str,
    unit: str,
    values: np.ndarray,
    *,
    must: float | None,
    aim: float | None,
    flops: float | None = None,
    at_most: bool = False,
    **detail: Any,
) -> Row:
    """Return the row of a quantity measured once in each repetition: `values` [repetitions]."""
    median, low = float(np.median(values)), bound(values, upper=at_most)
    return Row(name, unit, median, low, must, aim, flops, detail, at_most)


def bound(values: np.ndarray, *, upper: bool = False) -> float:
    """Return the one-sided 95 % bootstrap bound of the median of `values` [repetitions]."""
    stream = seeds.generator("bootstrap", "benchmarks")
    medians = np.median(stream.choice(values, (RESAMPLES, len(values))), axis=1)
    return float(np.quantile(medians, 0.95 if upper else 0.05))


def seconds(function: Callable[[], object]) -> float:
    """Return the wall-clock seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use this many threads, and restore the previous number afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
