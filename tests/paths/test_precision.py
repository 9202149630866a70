"""bf16 is taken where it is faster and moves no barrier, on a clock that the test winds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from itertools import accumulate, cycle

import pytest

from basins.paths.engine import Engine
from basins.paths.precision import TOLERANCE, Trial, trial
from basins.weights import flatten
from tests.paths.conftest import trained


def clock(fp32: float, bf16: float) -> Callable[[], float]:
    """Return a clock on which evaluations take these seconds in turn, and nothing else any."""
    ticks: Iterator[float] = accumulate(cycle([0, fp32, 0, bf16]))
    return lambda: next(ticks)


def measured(data, calibration, examples, seconds):
    nets = [trained("resnet", seed, data) for seed in (0, 1)]
    controls = [flatten(copy.deepcopy(net.state_dict())) for net in nets]
    sets = {"set": examples}
    return trial(Engine(nets[0]), controls, {"reset": calibration}, sets, seconds)


def test_a_faster_bf16_is_compared_and_taken(data, calibration, examples):
    found = measured(data, calibration, examples, clock(3, 1))
    assert found.faster == 3
    assert 0 < found.moved <= TOLERANCE  # it rounds, but not so much
    assert found.precision == "bf16"


def test_a_slower_bf16_is_not_even_compared(data, calibration, examples):
    found = measured(data, calibration, examples, clock(1, 3))
    assert found.faster == pytest.approx(1 / 3)
    assert found.moved != found.moved
    assert found.precision == "fp32"


@pytest.mark.parametrize(
    ("faster", "moved", "expected"),
    [(2.0, 0.02, "fp32"), (2.0, 0.01, "bf16"), (1.1, 0.0, "fp32"), (2.0, float("nan"), "fp32")],
)
def test_both_conditions_count(faster, moved, expected):
    assert Trial(faster, moved).precision == expected
