"""Merges are averaged over sets, and against a reference on the same set."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from basins.statistics import merges

ACCURACY = {"best": (0.8, 0.9, 1.0), "soup": (0.1, 1.0, 1.0)}


@pytest.fixture
def rows() -> pd.DataFrame:
    ids = {"alignment": "none", "batchnorm": "reset", "members": 1, "eval_set": "test"}
    return pd.DataFrame(
        {**ids, "technique": name, "set": k, "loss": 10 * value, "accuracy": value}
        for name, values in ACCURACY.items()
        for k, value in enumerate(values)
    )


def one(found: pd.DataFrame, technique: str, metric: str) -> pd.Series:
    return found.loc[(found["technique"] == technique) & (found["metric"] == metric)].squeeze()


def test_intervals_over_sets_are_of_t_and_shares_between_0_and_1(rows):
    found = merges.averages(rows, 0.95)
    half = 4.302653 * np.std(ACCURACY["best"], ddof=1) / 3**0.5
    best = one(found, "best", "loss")
    assert best["mean"] == pytest.approx(9) and best["seeds"] == 3
    assert best["ci_high"] == pytest.approx(9 + 10 * half, rel=1e-5)
    best = one(found, "best", "accuracy")
    logits = np.log(9) + np.array([-1, 1]) * half / 0.09
    assert best[["ci_low", "ci_high"]].tolist() == pytest.approx(1 / (1 + np.exp(-logits)))
    soup = one(found, "soup", "accuracy")
    assert 0 < soup["ci_low"] < soup["mean"] < soup["ci_high"] < 1
    assert one(found, "soup", "loss")["ci_low"] == 0  # a loss is never below


def test_gains_are_taken_set_by_set(rows):
    found = merges.gains(rows, "best", 0.95)
    soup = one(found, "soup", "accuracy")
    differences = np.subtract(ACCURACY["soup"], ACCURACY["best"])
    assert soup["mean"] == pytest.approx(differences.mean())
    assert -1 < soup["ci_low"] < soup["mean"] < soup["ci_high"] < 1
    assert one(found, "best", "loss")[["mean", "ci_low", "ci_high"]].tolist() == [0, 0, 0]
