"""Bets on the mean of a finite set: fair, sure in the end, and right at all times at once."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from basins import seeds
from basins.errors import UserError
from basins.paths.confidence import STAKES, Capital, bounds

COUNT = 300
FLOATS = st.floats(-1, 2, allow_subnormal=False)  # this process may flush them to zero by now


def populations() -> dict[str, np.ndarray]:
    """Finite sets of values in [-1, 5], of the kinds that gaps of error and of loss are."""
    draw = seeds.generator("test", "populations")
    return {
        "signs": draw.choice([-1.0, 0.0, 1.0], COUNT, p=[0.1, 0.8, 0.1]),
        "uniform": draw.uniform(-1, 1, COUNT),
        "rare and large": np.where(np.arange(COUNT) < 6, 5.0, 0.0),
        "rare and low": np.where(np.arange(COUNT) < 6, -1.0, 0.1),
        "skewed": np.minimum(draw.exponential(0.3, COUNT), 5) - 0.2,
        "constant": np.full(COUNT, 0.25),
    }


def shuffles(values: np.ndarray, times: int) -> np.ndarray:
    return seeds.generator("test", "shuffles").permuted(np.tile(values, (times, 1)), axis=1)


def test_capital_by_hand():
    """Of 0, 0, 1, two are drawn; a bet on more than 1/3 pays value over mean of the unseen."""
    logs = Capital(1 / 3, count=3, low=0.0).update(np.array([1.0, 0.0]))
    first = 1 + STAKES * (3 - 1)  # the unseen would average 1/3, and 1 was drawn
    second = first * (1 - STAKES)  # then they would average 0: any loss is the whole stake
    np.testing.assert_allclose(np.exp(logs), [first.mean(), second.mean()])


def test_a_capital_in_parts_is_that_of_the_whole():
    values = shuffles(populations()["uniform"], 2)
    whole = Capital([0.0, 0.1], count=COUNT, low=-1.0).update(values)
    parts = Capital([0.0, 0.1], count=COUNT, low=-1.0)
    found = [parts.update(part) for part in np.split(values, [1, 77, 200], axis=1)]
    np.testing.assert_allclose(np.concatenate(found, axis=1), whole, atol=1e-9)


def test_a_bet_on_the_mean_itself_is_fair():
    """Over all 24 orders of four values, the capital averages 1 after every draw."""
    values = np.array([-1.0, 0.2, 0.5, 0.9])
    orders = np.array(list(permutations(values)))
    logs = Capital(np.full(24, values.mean()), count=4, low=-1.5).update(orders)
    np.testing.assert_allclose(np.exp(logs).mean(axis=0), 1, atol=1e-9)


@pytest.mark.parametrize("name", populations())
def test_capital_rarely_passes_one_over_alpha_at_any_time(name):
    values = populations()[name]
    mean, runs = values.mean(), shuffles(values, 2000)
    for sign, low in ((1, -1.0), (-1, -5.0)):
        peaks = Capital(np.full(2000, sign * mean), count=COUNT, low=low).update(sign * runs).max(1)
        assert (peaks > np.log(1 / 0.05)).mean() <= 0.05


@pytest.mark.parametrize("name", populations())
def test_bounds_hold_at_all_times_at_once(name):
    values = populations()[name]
    runs = shuffles(values, 100)
    missed = np.zeros(100, bool)
    for n in (1, 10, 30, 100, 290, COUNT):
        low, high = bounds(runs[:, :n], count=COUNT, low=-1.0, high=5.0, alpha=0.05)
        missed |= (low > values.mean() + 1e-9) | (high < values.mean() - 1e-9)
    assert missed.mean() <= 0.05


@given(arrays(np.float64, 20, elements=FLOATS, fill=st.nothing()))
def test_bounds_end_at_the_mean_and_widen_only_if_they_missed_it(values):
    sizes, mean = (1, 5, 12, 19, 20), values.mean()
    found = [bounds(values[:n], count=20, low=-1.0, high=2.0, alpha=0.1) for n in sizes]
    for (low, high), (next_low, next_high) in pairwise(found):
        assert min(low, mean) - 1e-6 <= next_low <= next_high + 1e-6
        assert next_high <= max(high, mean) + 1e-6
    np.testing.assert_allclose(found[-1], mean, atol=1e-9)


def test_what_is_refuted_stays_so():
    """A hundred ones refute every low mean; the zeros after them do not bring it back."""
    values = np.repeat([1.0, 0.0], 100)
    early, late = (
        bounds(values[:n], count=1000, low=-1.0, high=1.0, alpha=0.05) for n in (100, 200)
    )
    assert 0.8 < early[0] <= late[0] + 1e-6


def test_bounds_narrow_with_the_spread():
    """A hundredth of 10,000 values near zero: narrower than Hoeffding's, which knows the range."""
    draw = seeds.generator("test", "narrow")
    values = draw.choice([-1.0, 0.0, 1.0], 10_000, p=[0.01, 0.98, 0.01])[:1000]
    low, high = bounds(values, count=10_000, low=-1.0, high=1.0, alpha=0.05)
    assert high - low < 0.5 * 2 * 2 * np.sqrt(np.log(2 / 0.05) / 2 / 1000)


def test_a_stream_is_bounded_as_if_alone():
    runs = shuffles(populations()["uniform"], 3)[:, :50]
    kwargs = {"count": COUNT, "low": -1.0, "high": 1.0, "alpha": 0.05}
    together = np.array(bounds(runs, **kwargs))
    np.testing.assert_allclose(together, np.array([bounds(r, **kwargs) for r in runs]).T)


def test_what_voids_the_guarantee_is_refused():
    with pytest.raises(UserError, match="give a lower"):
        Capital(0.0, count=5, low=0.0).update(np.array([-0.1]))
    with pytest.raises(UserError, match="give a lower"):
        bounds(np.array([np.nan]), count=5, low=0.0, high=1.0, alpha=0.05)
    with pytest.raises(UserError, match="only 2 are left"):
        Capital(0.0, count=2, low=0.0).update(np.zeros(3))
    with pytest.raises(UserError, match="at least one"):
        bounds(np.empty(0), count=2, low=0.0, high=1.0, alpha=0.05)
