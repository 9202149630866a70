"""Scores of two classes and their intervals, against scikit-learn, brute force and coverage."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, matthews_corrcoef

from basins.landscape.barriers import convexity_gap
from basins.statistics.examples import estimate, gap_split, mean_interval, scores

REFERENCE = {"f1": f1_score, "mcc": matthews_corrcoef}


def answers(rng: np.random.Generator, n: int, right: float = 0.8) -> np.ndarray:
    true = rng.random(n) < 0.3
    return np.stack([np.where(rng.random(n) < right, true, ~true), true], axis=1)


@pytest.mark.parametrize("metric", REFERENCE)
@pytest.mark.parametrize("n", [20, 677])
def test_scores_are_scikit_learns(metric: str, n: int) -> None:
    for seed in range(5):
        values = answers(np.random.default_rng(seed), n)
        expected = REFERENCE[metric](values[:, 1], values[:, 0])
        assert estimate(metric, values, 0.95)[0] == pytest.approx(expected)


@pytest.mark.parametrize("metric", REFERENCE)
def test_the_interval_is_that_of_resampled_examples(metric: str) -> None:
    values, rng = answers(np.random.default_rng(0), 300), np.random.default_rng(1)
    drawn = values[rng.integers(300, size=(2000, 300))]
    resampled = [scores(*answers.T)[metric] for answers in drawn]
    expected = np.quantile(resampled, [0.05, 0.95])
    assert estimate(metric, values, 0.9)[1:] == pytest.approx(expected, abs=0.012)
    assert estimate(metric, values, 0.9) == estimate(metric, values, 0.9)


@pytest.mark.parametrize(("metric", "truth"), [("f1", 2 * 0.24 / (0.24 * 2 + 0.06 + 0.14))])
def test_the_interval_covers_as_it_says(metric: str, truth: float) -> None:
    rng, runs = np.random.default_rng(2), 200
    found = [estimate(metric, answers(rng, 300), 0.9)[1:] for _ in range(runs)]
    assert 0.84 <= np.mean([low <= truth <= high for low, high in found]) <= 0.96


@pytest.mark.parametrize(
    ("predicted", "true", "f1", "mcc"),
    [
        ([1, 1], [1, 1], 1, 0),
        ([0, 0], [0, 0], 0, 0),
        ([0, 0], [1, 0], 0, 0),
        ([1, 0], [0, 1], 0, -1),
    ],
)
def test_scores_of_constant_answers_are_defined(predicted, true, f1, mcc) -> None:
    values = np.array([predicted, true], dtype=bool).T
    with np.errstate(all="raise"):
        assert estimate("f1", values, 0.95)[0] == f1
        assert estimate("mcc", values, 0.95)[0] == mcc
        assert np.isfinite(estimate("mcc", values, 0.95)).all()


def test_any_other_metric_is_a_mean() -> None:
    values = np.array([True, False, True])
    assert estimate("accuracy", values, 0.9) == mean_interval(values, 0.9)
    assert estimate("loss", np.float32([1, 2, 6]), 0.9)[0] == 3


def test_half_of_the_examples_takes_off_the_bias_of_a_convexity_gap() -> None:
    ts, rng = np.linspace(0, 1, 11), np.random.default_rng(4)
    found = []
    for _ in range(300):
        level, slope, bend = rng.normal(size=(3, 300, 1))
        losses = level + slope * ts + 2.4 * bend * ts * (1 - ts) + 0.3 * rng.normal(size=(300, 11))
        found.append((gap_split(ts, losses), convexity_gap(ts, losses.mean(0))))
    split, plain = np.mean(found, axis=0)
    assert abs(split) < 3 * np.std(found, axis=0)[0] / 300**0.5 < plain / 2


def test_a_convexity_gap_without_noise_is_the_gap() -> None:
    ts = np.array([0, 0.1, 0.35, 0.5, 0.6, 0.9, 1])  # on any grid that increases
    for seed in range(20):
        curve = np.random.default_rng(seed).normal(size=7)
        found = gap_split(ts, np.tile(curve, (6, 1)))
        assert found == pytest.approx(float(convexity_gap(ts, curve)), abs=1e-12)
    assert gap_split(ts, np.tile(ts**2, (6, 1))) == 0
