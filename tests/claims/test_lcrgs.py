"""Every claim can be supported, contradicted and inconclusive, and reads the rows that it names."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from basins.claims.lcrgs import paper
from basins.claims.results import Results
from basins.errors import UserError
from tests.claims import planted
from tests.claims.planted import SEEDS, SPREAD, THRESHOLD, VERDICTS
from tests.claims.planted_lcrgs import (
    BENT,
    CHOICE,
    CURVED,
    ON,
    barriers,
    clusters_are_shown,
    decide,
    effect,
    gap,
    mid,
    shown,
    straight,
)
from tests.claims.test_lcrgs_dynamics import APART
from tests.claims.test_lcrgs_strategies import MODELS, PUBLISHED, ROWS, STRATEGIES

__all__ = ["clusters_are_shown"]  # a fixture

# Of each claim about pairs: its options, the pairs that it is about, the columns in which the value
# is planted, and what other pairs have.
PAIRS = {
    "c1_gap": (ON, "all", gap, None),
    "c1_ratio": ({**ON, "ratio": 2.0}, "between", lambda v: gap(v + 0.4), 0.2),
    "c2_missed": (ON, "all", lambda v: gap(v + 0.2) | straight(0.2), None),
    "c7_midpoint": (ON, "within", mid, 9.0),
    "c7_any": (ON, "all", mid, None),
    "c8_plateau": (
        {**ON, "share": 0.1}, "between",  # of a change of 2 from end to end
        lambda v: {"barrier_endpoint": v + 0.2, "barrier_mean": v + 1.2}, 9.0,
    ),
    "c11_within": (ON, "within", gap, 9.0),
    "c12_connected": (BENT, "between", straight, 9.0),
    "c12_worse": (BENT, "between", mid, 9.0),
    "c12_any": (CURVED, "all", straight, None),
    "c12_any_worse": (CURVED, "all", mid, None),
}  # fmt: skip
TESTS = {"c3_several", "control_forced", "control_planted", "control_basin"}
SHARES = {"share_of", "share_more"}
STUDY = {
    *STRATEGIES,
    *SHARES,
    "c3_alone",
    "head_apart",
    "head_probed",
    "head_matched",
    "c12_selves",
}
PARTED = {name for name, (_, which, *_) in PAIRS.items() if which != "all"}


def test_every_claim_is_tested_here():
    assert set(paper.claims) == {*PAIRS, *ROWS, *PUBLISHED, *MODELS, *TESTS, *APART, *STUDY}


def planted_pairs(name, size, spread, **more):
    options, which, columns, other = PAIRS[name]
    ids = {"path": options.get("path", "linear"), "experiment": options["experiment"]}
    return options, {"barriers": barriers(which, columns, other, size, spread, **ids, **more)}


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("name", PAIRS)
def test_pairs_are_averaged_over_models(name, verdict):
    size, spread = effect(name, verdict)
    options, tables = planted_pairs(name, size, spread)
    entry = decide(name, {**options, "threshold": THRESHOLD}, {**shown(), **tables})
    assert (entry["verdict"], entry["n"]) == (verdict, SEEDS)
    # What cannot be below 0 cannot be seen to be below .3 with intervals so wide.
    ends = entry["smallest_effect"] is None
    assert entry["reason"] == ("no estimate could support it with n = 12" if ends else "")
    assert not ends or verdict == "inconclusive"
    assert entry["estimate"] == pytest.approx(size, abs=0.01 if spread is SPREAD else 0.2)
    assert "of no pairs" not in entry["statistic"]


@pytest.mark.parametrize("name", sorted(PARTED & set(PAIRS)))
def test_what_is_said_of_clusters_does_not_apply_where_none_are_shown(name, monkeypatch):
    planted.show(monkeypatch, False, "they look alike")
    options, tables = planted_pairs(name, 0.6, SPREAD)
    entry = decide(name, {**options, "threshold": THRESHOLD}, {**shown(), **tables})
    assert (entry["verdict"], entry["p"]) == ("not applicable", None)
    assert entry["reason"] == "no clusters are shown in nli: they look alike"
    assert entry["estimate"] == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize("name", sorted(TESTS))
def test_clusters_are_supported_or_not_shown_but_never_contradicted(name, monkeypatch):
    for decides, note, verdict in ((True, "", "supported"), (False, "alike", "inconclusive")):
        planted.show(monkeypatch, decides, note)
        entry = decide(name, {"experiment": "nli"}, shown())
        assert (entry["verdict"], entry["reason"], entry["n"]) == (verdict, note, SEEDS)


def test_what_is_missing_is_named():
    options, tables = planted_pairs("c7_midpoint", 0.5, SPREAD)
    options = {**options, "threshold": 0.1}
    with pytest.raises(UserError, match="claims.lcrgs.key: barriers has no eval_set 'train'"):
        decide("c7_midpoint", {**options, "eval_set": "train"}, {**shown(), **tables})
    with pytest.raises(UserError, match="no table 'clusters'; there are: barriers"):
        decide("c7_midpoint", options, tables)
    with pytest.raises(UserError, match="no table 'published_models'"):
        decide("c4_published", {"threshold": 0.9}, tables)


@pytest.fixture
def read_gaps(monkeypatch):
    """Let gaps in domain be those of the rows."""
    monkeypatch.setattr(Results, "gaps", lambda self, name: self.pairs(name, "test"))


@pytest.mark.parametrize(
    ("many", "verdict"), [(10, "supported"), (0, "contradicted"), (4, "inconclusive")]
)
def test_a_model_that_is_far_from_all_others_is_alone(many, verdict, read_gaps):
    def pairs(size):
        return {"barrier_linear": size}

    rows = barriers("all", pairs, None, 0.0, np.zeros(SEEDS))
    far = [f"nli/seed{k}" for k in range(many)]
    own = rows["model_a"].isin(far) | rows["model_b"].isin(far)
    rows.loc[own & rows["barrier_linear"].eq(0), "barrier_linear"] = 0.05
    options = {"experiment": "nli", "size": 0.02, "threshold": 0.3}
    entry = decide("c3_alone", options, {"barriers": rows})
    assert entry["estimate"] == pytest.approx(many / SEEDS)
    assert (entry["verdict"], entry["n"]) == (verdict, SEEDS)


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("name", ["head_apart", "head_probed", "head_matched"])
def test_pairs_of_two_experiments_are_compared(name, verdict):
    size, spread = effect(name, verdict)
    rows = [
        barriers("all", straight, None, value, own, experiment=experiment, recipe=experiment)
        for experiment, value, own in (("one", size + 0.2, spread), ("two", 0.2, 0 * spread))
    ]
    options = {"experiment": "one", "against": "two", "eval_set": "test", "threshold": THRESHOLD}
    entry = decide(name, options, {"barriers": pd.concat(rows)})
    assert entry["verdict"] == verdict
    assert entry["estimate"] == pytest.approx(size, abs=0.01 if spread is SPREAD else 0.2)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_bend_is_held_against_those_of_its_two_ends(verdict):
    size, spread = effect("c12_selves", verdict)
    trained = np.linspace(1, 4, SEEDS)  # what an epoch more does to each model
    planted_ = {"experiment": "curves", "path": "bezier"}
    pairs = barriers("all", mid, None, size, spread + trained / 2, **planted_)
    selves = [
        {"model_a": f"nli/seed{k}", "model_b": f"again/seed{k}", "barrier_mid": trained[k]}
        for k in reversed(range(SEEDS))
    ]
    own = pairs.iloc[-1:].drop(columns=["model_a", "model_b", "barrier_mid"])
    own = pd.DataFrame(selves).merge(own.assign(experiment="selves"), how="cross")
    options = {**CURVED, "selves": "selves", "threshold": THRESHOLD}
    entry = decide("c12_selves", options, {"barriers": pd.concat([pairs, own])})
    assert (entry["verdict"], entry["n"]) == (verdict, SEEDS)
    assert entry["estimate"] == pytest.approx(size, abs=0.01 if spread is SPREAD else 0.2)


def crossed(head: float, order: float):
    """Tables of a factorial of six heads and orders, in which sharing either takes so much away."""
    own = {f"nli/seed{k}": (60 + k // 12, 700 + k // 2 % 6, k % 2) for k in range(72)}
    levels = [
        {"test": "B2", "quantity": f"level, {factor}", "models": model, "value": values[place]}
        for model, values in own.items()
        for place, factor in enumerate(("head", "order", "dropout"))
    ]
    draw = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "model_a": a, "model_b": b,
            "barrier_linear": 1 - head * (own[a][0] == own[b][0]) - order * (own[a][1] == own[b][1])
            + draw.normal(0, 0.05),
        }
        for a, b in combinations(own, 2)
    ).assign(
        experiment="nli", path="linear", alignment="none", batchnorm="interpolate",
        eval_set="test", metric="loss",
    )  # fmt: skip
    return {"barriers": rows, "aspects/cell": pd.DataFrame(levels)}


def test_shares_of_a_factorial_are_those_that_were_planted(read_gaps):
    options = {"aspect": "cell", "experiment": "nli", "threshold": 0.3}
    tables = crossed(0.7, 0.1)
    for factor, share, verdict, levels in (
        ("head", 0.7, "supported", 6), ("order", 0.1, "contradicted", 6),
        ("dropout", 0, "inconclusive", 2),
    ):  # fmt: skip
        entry = decide("share_of", {**options, "factor": factor}, tables)
        assert entry["estimate"] == pytest.approx(share, abs=0.03)
        assert (entry["verdict"], entry["n"]) == (verdict, levels)  # of the rarest, not models
    entry = decide("share_more", options, tables)
    assert entry["estimate"] == pytest.approx(0.6, abs=0.03) and entry["verdict"] == "supported"
    assert decide("share_more", options, crossed(0.2, 0.2))["verdict"] == "contradicted"


def test_shares_of_a_strategy_need_one(read_gaps):
    """Models that differ by the noise of the examples, or guess, have no strategies to explain."""
    options = {"aspect": "cell", "experiment": "nli", "threshold": 0.3, "slice": "overlap"}
    tables = crossed(0.7, 0.1)
    models = sorted({*tables["barriers"]["model_a"], *tables["barriers"]["model_b"]})
    clusters = pd.DataFrame({**CHOICE, "model": models, "cluster": 0, "score": 0.0})

    def reason(apart: float, base: float) -> str:
        probes = pd.DataFrame(
            {"recipe": model.rpartition("/")[0], "seed": int(model.rpartition("/seed")[2]),
             "slice": on, "metric": metric, "value": value, "ci_low": value - 0.04,
             "ci_high": value + 0.04}
            for k, model in enumerate(models)
            for on, metric, value in (
                ("overlap", "accuracy", 0.5 + apart * (-1) ** k),
                ("test", "accuracy", 0.6), ("test", "base_rate", base),
            )
        )  # fmt: skip
        entry = decide("share_more", options, {**tables, "clusters": clusters, "probes": probes})
        assert (entry["verdict"] == "not applicable") == bool(entry["reason"])
        return entry["reason"]

    assert reason(0.3, 0.4) == ""
    assert reason(0.01, 0.4).startswith("no variance of strategy")
    assert reason(0.3, 0.55).startswith("the task was not learned")
