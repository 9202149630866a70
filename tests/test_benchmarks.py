"""The arithmetic of benchmarks/harness.py, and what the benchmarks write."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.__main__ import document, part
from benchmarks.harness import (
    HEADER,
    Row,
    bound,
    interleaved,
    quantity,
    ratio,
    rounds,
    threads,
)
from benchmarks.peak import operations


def test_products_with_padding_are_not_operations():
    # Of 4 x 4 pixels, 3 x 3 windows see (2 + 3 + 3 + 2) ** 2 = 100 pixels, of 144 with padding.
    net = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5)
    )
    assert operations(net, torch.zeros(7, 2, 4, 4)) == 2 * 7 * (100 * 6 + 96 * 5)
    strided = nn.Conv2d(1, 1, 3, padding=1, stride=2)  # windows at pixels 0 and 2: 2 + 3 a side
    assert operations(strided, torch.zeros(1, 1, 4, 4)) == 2 * 25


def row(low: float, *, must: float | None = 2, aim: float | None = 4, at_most: bool = False) -> Row:
    return Row("a name", "x", 3.0, low, must, aim, flops=3.16, at_most=at_most)


def test_ratio_is_the_median_of_paired_ratios_not_the_ratio_of_medians():
    # Pairs: 10/4, 20/1, 12/10; the medians would give 12/4 = 3.
    found = ratio(
        "", np.array([10.0, 20.0, 12.0]), np.array([4.0, 1.0, 10.0]), must=1, aim=2, side=16
    )
    assert (found.estimate, found.unit) == (2.5, "x")
    assert found.detail == {
        "side": 16,
        "baseline_seconds": [10.0, 20.0, 12.0],
        "our_seconds": [4.0, 1.0, 10.0],
    }


def test_bound_of_five_is_within_them_and_reproducible():
    values = np.array([5.0, 7.0, 6.0, 9.0, 8.0])
    # A resample's median is the least value where three draws or more are: 5.8 % of resamples.
    assert bound(values) == 5
    assert bound(values, upper=True) == 9
    assert bound(values) == bound(values)


def test_bound_of_equal_values_is_that_value():
    assert bound(np.full(5, 2.5)) == bound(np.full(5, 2.5), upper=True) == 2.5


def test_bound_tightens_with_more_repetitions():
    draws = np.random.default_rng(0).normal(10, 1, 400)
    assert bound(draws[:10]) < bound(draws) < np.median(draws)


def test_quantity_that_must_stay_small_is_bounded_from_above():
    values = np.array([1.0, 2.0, 3.0, 2.0, 1.5])
    found = quantity("", "%", values, must=3, aim=1, at_most=True)
    assert (found.estimate, found.low, found.reached) == (2, 3, "must")


@pytest.mark.parametrize(
    ("found", "reached"),
    [
        (row(4), "aim"),
        (row(3.99), "must"),
        (row(1.99), "no"),
        (row(4.01, must=5, aim=4, at_most=True), "must"),
        (row(4, must=5, aim=4, at_most=True), "aim"),
        (row(5.01, must=5, aim=4, at_most=True), "no"),
        (row(1, must=None, aim=None), ""),
        (row(3, aim=None), "must"),
    ],
)
def test_the_bound_decides_what_is_reached(found, reached):
    assert found.reached == reached


def test_sides_take_turns_after_a_warm_up_of_each():
    calls: list[str] = []
    first, second = interleaved(lambda: calls.append("a"), lambda: calls.append("b"), 2)
    assert "".join(calls) == "ababab"
    assert first.shape == second.shape == (2,)
    assert (np.concatenate([first, second]) > 0).all()
    assert rounds([lambda: None] * 3, 4).shape == (3, 4)


def test_a_line_of_the_table_stands_under_its_header():
    line = str(row(2.5))
    for column in ("must", "reached"):
        assert line[HEADER.index(column) :].strip()
    assert line.split() == ["a", "name", "3.00", "x", ">=", "2.50", "2", "4", "must", "3.16", "x"]
    assert str(row(2.5, at_most=True)).split()[4] == "<="


def test_document_says_what_was_measured_where():
    found = ratio("a", np.array([4.0]), np.array([2.0]), must=1, aim=3, spread=np.array([0.5]))
    content = json.loads(document({"a": {}, "b": part([found], repetitions=1)}))["b"]
    assert {"date", "processor", "cores", "instruction_set", "versions", "repetitions"} <= set(
        content
    )
    (written,) = content["rows"]
    assert (written["name"], written["estimate"], written["low"]) == ("a", 2, 2)
    assert (written["must"], written["aim"], written["reached"]) == (1, 3, "must")
    assert written["detail"]["spread"] == [0.5]


def test_threads_are_put_back():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), threads(before + 1):
        assert torch.get_num_threads() == before + 1
        _ = 1 / 0
    assert torch.get_num_threads() == before
