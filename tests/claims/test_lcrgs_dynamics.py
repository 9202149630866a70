"""Claims about early and final models, and about pairs between clusters at equal models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from basins.errors import UserError
from tests.claims import planted
from tests.claims.planted import SEEDS, SPREAD, THRESHOLD, VERDICTS
from tests.claims.planted_lcrgs import (
    BENT,
    CLUSTER,
    EARLY,
    barriers,
    clusters,
    clusters_are_shown,
    decide,
    effect,
    gap,
    shown,
)

__all__ = ["clusters_are_shown"]  # a fixture

APART = {"c9_apart", "c9_grows", "c9_growth", "c9_trapped", "c9_correlation", "c12_across"}


@pytest.mark.parametrize("verdict", VERDICTS)
def test_growth_is_of_the_same_pairs(verdict):
    size, spread = effect("c9_growth", verdict)
    early, late = grown("all", None, 0.0, size, spread)
    tables = {**shown(), "barriers": pd.concat([early, late])}
    entry = decide("c9_growth", {**EARLY, "threshold": THRESHOLD}, tables)
    assert (entry["verdict"], entry["n"]) == (verdict, SEEDS)
    assert entry["estimate"] == pytest.approx(size, abs=0.01 if spread is SPREAD else 0.2)


def grown(which, other, first, last, spread=SPREAD):
    """Pairs early and late, whose gaps differ as those of models do, and by their kind."""

    def later(value):
        return gap(value + 0.2)

    sides = (
        barriers(which, later, other, first, 5 * SPREAD, experiment="early", recipe="nli/step2"),
        barriers(which, later, other, last, spread + 5 * SPREAD),
    )
    return [part.loc[part["convexity_gap"] != -7] for part in sides]


def test_what_the_clusters_come_from_is_not_held_against_them():
    early, late = grown("between", 0.1, 0.0, 0.9)
    tables = {**shown(), "barriers": pd.concat([early, late])}
    entry = decide("c9_grows", {**EARLY, "threshold": THRESHOLD}, tables)
    assert (entry["verdict"], entry["p"]) == ("inconclusive", None)
    assert entry["estimate"] == pytest.approx(0.9, abs=0.01)
    assert entry["reason"] == "the clusters come from gaps that are compared"


# Of each claim whose clusters are a part of the estimate: its options, and its column.
BETWEEN = {"c9_apart": (EARLY, "convexity_gap"), "c12_across": (BENT, "barrier_mid")}


@pytest.mark.parametrize("name", BETWEEN)
@pytest.mark.parametrize(
    ("size", "verdict"), [(0.4, "supported"), (-0.4, "contradicted"), (0.0, "inconclusive")]
)
def test_pairs_between_clusters_are_compared_at_equal_models(name, size, verdict, monkeypatch):
    options, column = BETWEEN[name]
    early = name == "c9_apart"
    rows = barriers(
        "between", lambda value: {column: value}, 0.3, 0.3, 5 * SPREAD,
        experiment=options["experiment"], path=options.get("path", "linear"),
        recipe="nli/step2" if early else "nli",
    )  # fmt: skip
    own = rows[column] != -7
    noise = np.random.default_rng(0).normal(0, 0.1, len(rows))
    seeds = rows[["model_a", "model_b"]].map(lambda model: int(model.rpartition("seed")[2]))
    apart = seeds.map(CLUSTER.__getitem__).nunique(axis="columns") > 1
    rows[column] += np.where(own, size * apart + noise, 0)
    late = barriers("all", gap, None, 1.0, SPREAD)
    late = late.loc[late["convexity_gap"] != -7]
    tables = {**shown(), "barriers": pd.concat([rows, late])}
    entry = decide(name, {**options, "threshold": 0.0}, tables)
    assert (entry["verdict"], entry["n"]) == (verdict, SEEDS), entry
    assert (entry["p"] < 0.01) == (verdict != "inconclusive")
    planted.show(monkeypatch, False, "they look alike")
    entry = decide(name, {**options, "threshold": 0.0}, tables)
    assert entry["verdict"] == "not applicable"


def test_early_gaps_are_correlated_with_those_of_the_same_pairs():
    generator = np.random.default_rng(0)
    early = barriers("all", gap, None, 1.0, SPREAD, experiment="early", recipe="nli/step2")
    early = early.loc[early["convexity_gap"] != -7].reset_index(drop=True)
    early["convexity_gap"] = generator.uniform(size=len(early))
    late = early.assign(experiment="nli")
    for side in ("model_a", "model_b"):
        late[side] = late[side].str.replace("nli/step2", "nli")
    own = 0.2 * generator.uniform(size=len(early))
    verdicts = {}
    for key, gaps in {
        "alike": early["convexity_gap"] + own,
        "opposite": own - early["convexity_gap"],
        "unrelated": generator.uniform(size=len(early)),
    }.items():
        rows = pd.concat([early, late.assign(convexity_gap=gaps).sample(frac=1, random_state=1)])
        entry = decide("c9_correlation", {**EARLY, "threshold": 0.3}, {**shown(), "barriers": rows})
        verdicts[key] = entry["verdict"]
        assert -1 < entry["ci_low"] < entry["estimate"] < entry["ci_high"] < 1
        expected = np.corrcoef(early["convexity_gap"], gaps)[0, 1]
        assert entry["estimate"] == pytest.approx(expected)
    assert verdicts["alike"] == "supported" and verdicts["opposite"] == "contradicted"
    assert verdicts["unrelated"] != "supported"


def test_models_are_trapped_where_early_clusters_are_the_final_ones():
    early, late = grown("all", None, 1.0, 1.0)
    tables = {"barriers": pd.concat([early, late])}
    own = {
        "same": CLUSTER,
        "renamed": [1 - label for label in CLUSTER],
        "one moved": [1, *CLUSTER[1:]],
        "other": [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1],
    }
    found = {}
    for key, labels in own.items():
        both = pd.concat([clusters(labels, "early", "nli/step2"), clusters()])
        options = {**EARLY, "threshold": 0.95}
        found[key] = decide("c9_trapped", options, {**shown(), **tables, "clusters": both})
    assert found["same"]["estimate"] == found["renamed"]["estimate"] == 1
    assert found["one moved"]["estimate"] == pytest.approx(1 - 11 / 66)
    assert {entry["verdict"] for entry in found.values()} == {"inconclusive"}
    assert found["other"]["reason"].startswith("clusters change with every seed")
    with pytest.raises(UserError, match="no seeds in common"):
        rows = tables["barriers"].replace({"model_a": r"seed"}, {"model_a": "seed9"}, regex=True)
        early = rows["experiment"] == "early"
        rows = pd.concat([rows.loc[early], tables["barriers"].loc[~early]])
        decide("c9_growth", {**EARLY, "threshold": 0.8}, {**shown(), "barriers": rows})
