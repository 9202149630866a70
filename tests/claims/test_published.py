"""Ours beside the published numbers: who matches a number, who the order."""

from __future__ import annotations

from math import nan

import pandas as pd
import pytest

from basins.claims.published import SETS, agreement, beside

MODELS = {"80": {"start": "cued_80", "cbft": "tuned/cbft", "llrt": "tuned/llrt", "scratch": "new"}}
OURS = {"cued_80": 0.9, "tuned/cbft": 0.68, "tuned/llrt": 0.66, "new": 0.4}
"""As the paper in order on NC and RC (70.0, 65.1, 47.5; 69.5, 27.0); not on C (70.0, 81.8), RI."""


def means(half: float) -> pd.DataFrame:
    rows = [
        {"recipe": recipe, "slice": s, "mean": mean, "ci_low": mean - half, "ci_high": mean + half}
        for recipe, mean in OURS.items()
        for s in SETS
    ]
    return pd.DataFrame(rows).assign(seeds=3)


def test_a_number_matches_where_our_interval_contains_it():
    made = beside(means(0.021), MODELS, "cifar10")
    known = made.dropna(subset="published").set_index(["method", "set"])
    assert set(known.index) == {(m, s) for m in ("cbft", "llrt") for s in SETS} | {
        ("scratch", "nc")
    }
    assert known.loc[("cbft", "nc"), "published"] == pytest.approx(0.7)
    matched = {("cbft", "nc"), ("cbft", "c"), ("cbft", "rc"), ("llrt", "nc")}
    assert set(known.index[known["matches"]]) == matched
    assert not made.loc[made["published"].isna(), "matches"].any()


def test_places_are_among_the_methods_that_have_a_published_number():
    made = beside(means(0.021), MODELS, "cifar10").set_index(["method", "set"])
    assert made.loc["start", ["rank", "rank_published"]].isna().all(axis=None)
    places = made[["rank", "rank_published"]].apply(tuple, axis=1)
    assert [places["cbft", s] for s in SETS] == [(1, 1), (1, 2), (1, 1), (1, 2)]
    assert places["scratch", "nc"] == (3, 3)


def test_agreement_counts_numbers_and_pairs_of_methods():
    assert agreement(beside(means(0.021), MODELS, "cifar10")) == (4, 9, 4, 6)
    assert agreement(beside(means(nan), MODELS, "cifar10")) == (0, 0, 4, 6)
    assert agreement(beside(means(0.021), MODELS, "")) == (0, 0, 0, 0)
