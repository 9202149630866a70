"""Shares of a factorial: what was planted comes back, and intervals cover."""

from __future__ import annotations

import re
from functools import partial
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from basins.statistics.factorial import FACTORIAL, crossed, pairs, shared
from basins.statistics.seeds import FEWEST, leave_out, over_factors
from tests.statistics.test_several import likely

DOC = Path(__file__).parents[2] / "docs" / "statistics.md"
EFFECTS = {
    "normal": lambda draw, size: draw.normal(size=size),
    "exponential": lambda draw, size: draw.exponential(size=size),
    "lognormal": lambda draw, size: draw.lognormal(size=size) / np.sqrt(np.e * (np.e - 1)),
    "of two kinds, 30 %": lambda draw, size: (draw.random(size) < 0.3) / np.sqrt(0.21),
}
"""Of the levels of a factor, with a variance of 1."""

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
    assert {f: len(np.unique(both)) for f, both in crossed(table, "dropout").items()} == {
        "head": 6,
        "order": 6,
        "dropout": 2,
    }


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
        found = over_factors(partial(shared, table, "head"), crossed(table), 0.95)
        covered.append(found["ci_low"] <= 0.5 <= found["ci_high"])
    assert np.mean(covered) >= 0.95


def test_no_factor_with_few_levels_decides():
    table = pairs(JOINED.assign(barrier_linear=0.0), LEVELS, strategies(1, 0.6, 0.8, 0))
    five = table.loc[(table["order_a"] < 705) & (table["order_b"] < 705)]
    for own, factor, few in ((table, "dropout", 2), (five, "order", 5), (table, "head", 6)):
        found = over_factors(partial(shared, own, factor), crossed(own, factor), 0.95)
        assert found["seeds"] == few and found["decides"] == (few >= FEWEST)
        assert found["decides"] or f"{few} levels of {factor}" in found["note"]


def test_the_interval_over_factors_has_the_half_widths_over_each_in_quadrature():
    table = pairs(JOINED.assign(barrier_linear=0.0), LEVELS, strategies(1, 0.6, 0.8, 1))
    share = partial(shared, table, "head")
    levels = crossed(table)
    found = over_factors(share, levels, 0.95)
    for end in ("ci_low", "ci_high"):
        alone = [leave_out(share, both, 0.95)[end] - found["mean"] for both in levels.values()]
        assert abs(found[end] - found["mean"]) == pytest.approx(np.hypot(*alone))


@pytest.mark.parametrize("effect", EFFECTS)
def test_heads_and_orders_that_explain_as_much_are_told_apart_as_rarely_as_the_table_says(effect):
    text = DOC.read_text("utf-8").partition("| 6 x 6 ")[2].partition("| 16 x 6 ")[0]
    cells = re.findall(
        r"^(?:\| )?\| ([a-z0-9, %]+?) \|.*\| (\S+) / (\S+) \| \S+ / \S+ \|$", text, re.M
    )
    known = {name: (float(low), float(high)) for name, low, high in cells}
    assert set(known) == set(EFFECTS)
    draw, runs, called = np.random.default_rng(0), 100, np.zeros(2)
    alike = {f: v.iloc[::2] for f, v in LEVELS.items()}  # one dropout
    joined = JOINED.loc[JOINED["model_a"].isin(alike["head"].index)]
    joined = joined.loc[joined["model_b"].isin(alike["head"].index)]
    for _ in range(runs):
        parts = np.sqrt(0.4) * EFFECTS[effect](draw, (2, 6))
        own = [parts[0, h - 60] + parts[1, o - 700] for h, o, d in CROSSED if not d]
        values = pd.Series(own + np.sqrt(0.2) * draw.normal(size=36), alike["head"].index)
        table = pairs(joined.assign(barrier_linear=0.0), alike, values)
        more = over_factors(
            lambda kept, of=table: shared(of, "head", kept) - shared(of, "order", kept),
            crossed(table),
            0.95,
        )
        called += more["ci_high"] < 0, more["ci_low"] > 0
    for count, share in zip(called, known[effect], strict=True):
        assert count <= likely(share / 100, runs)[1]
