"""Shares of a factorial: what was planted comes back, and intervals cover."""

from __future__ import annotations

from functools import partial
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest

from basins.statistics.factorial import FACTORIAL, pairs, shared, units
from basins.statistics.seeds import leave_out

CROSSED = list(product(range(60, 66), range(700, 706), range(2)))
MODELS = [f"factorial/seed{k}" for k in range(len(CROSSED))]
LEVELS = {
    factor: pd.Series([own[place] for own in CROSSED], index=MODELS)
    for place, factor in enumerate(FACTORIAL)
}
JOINED = pd.DataFrame(list(combinations(MODELS, 2)), columns=["model_a", "model_b"])


def strategies(head: float, order: float, rest: float, seed: int) -> pd.Series:
    """Return a number of each model: effects with these deviations of head, order and the rest."""
    draw = np.random.default_rng(seed)
    heads, orders = (dict(zip(range(6), draw.normal(0, s, 6), strict=True)) for s in (head, order))
    values = [heads[h - 60] + orders[o - 700] + draw.normal(0, rest) for h, o, _ in CROSSED]
    return pd.Series(values, index=MODELS)


def test_barriers_are_split_by_what_pairs_share():
    same = {f: JOINED["model_a"].map(v) == JOINED["model_b"].map(v) for f, v in LEVELS.items()}
    barrier = 0.01 + 0.07 * ~same["head"] + 0.02 * ~same["order"]
    table = pairs(JOINED.assign(barrier_linear=barrier), LEVELS)
    every = np.ones(len(table), bool)
    found = [shared(table, factor, every) for factor in FACTORIAL]
    assert found == pytest.approx([0.7, 0.2, 0.0])
    assert table["models"].iloc[0] == "head 60 + order 700 + head 60 + order 700"
    assert len(units(table)) == 4 and len(set(np.concatenate(units(table)))) == 12


def test_a_factor_at_one_level_is_no_part_of_the_design():
    same = {f: JOINED["model_a"].map(v) == JOINED["model_b"].map(v) for f, v in LEVELS.items()}
    barrier = 0.01 + 0.07 * ~same["head"] + 0.02 * ~same["order"]
    held = {**LEVELS, "dropout": 0 * LEVELS["dropout"]}
    table = pairs(JOINED.assign(barrier_linear=barrier), held).loc[~(same["head"] & same["order"])]
    found = [shared(table, factor, np.ones(len(table), bool)) for factor in FACTORIAL]
    assert found == pytest.approx([0.7, 0.2, np.nan], nan_ok=True)


def test_nothing_to_compare_is_not_a_number():
    table = pairs(JOINED.assign(barrier_linear=0.0), LEVELS)
    assert np.isnan(shared(table, "head", np.ones(len(table), bool)))
    assert np.isnan(shared(table, "head", np.zeros(len(table), bool)))


def test_intervals_over_heads_and_orders_cover_the_component_of_variance():
    # Half of the variance is the head's, of which there are six: over models the interval would be
    # far too narrow.
    covered = []
    for seed in range(60):
        table = pairs(JOINED.assign(barrier_linear=0.0), LEVELS, strategies(1, 0.6, 0.8, seed))
        found = leave_out(partial(shared, table, "head"), units(table), 0.95)
        covered.append(found["ci_low"] <= 0.5 <= found["ci_high"])
    assert np.mean(covered) >= 0.8
