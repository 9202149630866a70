"""Claims about how clusters, gaps and scores of models relate to what models rely on."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from basins.claims.lcrgs import paper
from basins.statistics import association
from tests.claims import planted
from tests.claims.planted import SEEDS, SPREAD, THRESHOLD, VERDICTS
from tests.claims.planted_lcrgs import (
    CHOICE,
    CLUSTER,
    SLICE,
    SMALLER,
    clusters,
    clusters_are_shown,
    decide,
    effect,
    probes,
    shown,
)

__all__ = ["clusters_are_shown"]  # a fixture

HELD = {**CHOICE, "slice": "overlap", "metric": "accuracy"}
# Of each claim about one row: its table, its options, the row, and its statistic.
ROWS = {
    "c11_triangles": ("cluster_choice", {"experiment": "nli"}, CHOICE, "triangle_excess"),
    "c4_score": ("association", SLICE, HELD, "pearson"),
    "c4_given": ("association", SLICE, HELD, "partial"),
    "c5_reversed": ("association", SLICE, HELD, "difference"),
    "c6_paws": ("association", SLICE, HELD, "difference"),
    "c10_rival": (
        "association", {**SLICE, "rival": "distance"}, {**HELD, "measure": "distance"}, "behind"
    ),
}  # fmt: skip
PUBLISHED = {"c4_published": "auc", "c4_published_given": "partial"}
MODELS = {"c5_swap", "c5_entailed"}
STRATEGIES = {"strategy_between", "strategy_gap"}
VARIED = {"c4_score", "c4_given", "c5_reversed", "c6_paws", "c10_rival"}


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("name", ROWS)
def test_rows_are_held_against_the_threshold(name, verdict):
    table, options, row, statistic = ROWS[name]
    size, spread = effect(name, verdict)
    half, p = (0.05, 0.01) if spread is SPREAD else (0.5, 0.4)
    own = {"estimate": size, "ci_low": size - half, "ci_high": size + half, "p": p, "n": 16}
    wrong = {"estimate": -7.0, "ci_low": -7.1, "ci_high": -6.9, "p": 0.01, "n": 3}
    rows = [{**row, key: "other", "statistic": statistic, **wrong} for key in row]
    made = pd.DataFrame([*rows, {**row, "statistic": statistic, **own}])
    others = [rows for name, rows in shown().items() if name == table]
    tables = {**shown(), table: pd.concat([*others, made])}
    entry = decide(name, {**options, "threshold": THRESHOLD}, tables)
    assert (entry["verdict"], entry["n"], entry["estimate"]) == (verdict, 16, size)
    none = {**tables, table: tables[table].assign(ci_low=np.nan, ci_high=np.nan)}
    entry = decide(name, {**options, "threshold": THRESHOLD}, none)
    assert entry["verdict"] == "inconclusive" and entry["ci_low"] is None


@pytest.mark.parametrize("name", sorted(VARIED - {"c10_rival"}))
def test_what_correlates_with_clusters_is_decided_by_permuted_scores_too(name):
    """An interval is too narrow where a few models are all of one kind."""
    side = -1 if paper.claims[name].side == "below" else 1
    low, high = sorted((side * 0.2, side * 0.6))
    own = {**ROWS[name][2], "statistic": ROWS[name][3], "n": 12, "estimate": side * 0.4}
    for p, verdict in ((0.049, "supported"), (0.051, "inconclusive")):
        row = pd.DataFrame([{**own, "ci_low": low, "ci_high": high, "p": p}])
        entry = decide(name, {**SLICE, "threshold": 0.0}, {**shown(), "association": row})
        assert entry["verdict"] == verdict
        assert entry["p"] == (p if verdict == "supported" else None)
        assert ("permuted" in entry["reason"]) == (verdict == "inconclusive")
    # An interval that has 0 in it is about its own threshold.
    row = pd.DataFrame([{**own, "ci_low": -0.2, "ci_high": 0.2, "estimate": 0.0, "p": 0.01}])
    entry = decide(name, {**SLICE, "threshold": -side * 0.3}, {**shown(), "association": row})
    assert entry["verdict"] == "supported" and entry["p"] != 0.01


@pytest.mark.parametrize("name", sorted(VARIED))
def test_what_is_said_of_strategies_does_not_apply_where_they_do_not_vary(name):
    table, options, row, statistic = ROWS[name]
    own = {"estimate": 0.9, "ci_low": 0.8, "ci_high": 0.95, "p": 0.01, "n": 12}
    own["statistic"] = statistic
    rows = pd.DataFrame([{**row, **own}])
    # A deviation of models of .0027, under and over twice the deviation of samples of examples.
    for noise, verdicts in ((0.002, {"not applicable"}), (0.001, set(VERDICTS))):
        tables = {**shown(), table: rows, "probes": probes(np.linspace(0.5, 0.508, 12), noise)}
        entry = decide(name, {**options, "threshold": THRESHOLD}, tables)
        assert entry["verdict"] in verdicts
        assert ("no variance of strategy" in entry["reason"]) == (noise == 0.002)


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_are_one_row(name, verdict):
    column, (size, spread) = PUBLISHED[name], effect(name, verdict)
    half = 0.05 if spread is SPREAD else 0.5
    columns = [*PUBLISHED.values(), "small"]
    row = {"metric": "Lexical (nonent)", "n": 100, **dict.fromkeys(columns, -7.0)}
    row |= {f"{c}_{end}": -7.0 for c in columns for end in ("low", "high")}
    row |= {column: size, f"{column}_low": size - half, f"{column}_high": size + half}
    tables = {"published_models": pd.DataFrame([{**row, "metric": "other", column: 9.0}, row])}
    entry = decide(name, {"threshold": THRESHOLD}, tables)
    assert (entry["verdict"], entry["n"], entry["estimate"]) == (verdict, 100, size)


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_smaller_clusters_models_are_averaged(name, verdict, monkeypatch):
    size, spread = effect(name, verdict)
    values = np.where(CLUSTER, size + spread, 9.0)
    options = {**SLICE, "threshold": THRESHOLD}
    entry = decide(name, options, {**shown(), "probes": probes(values)})
    assert (entry["verdict"], entry["n"]) == (verdict, len(SMALLER))
    assert entry["estimate"] == pytest.approx(size + spread[SMALLER].mean())
    one = {**shown(), "clusters": clusters([1, *[0] * 11]), "probes": probes(values)}
    assert decide(name, options, one)["verdict"] == "inconclusive"
    planted.show(monkeypatch, False, "they look alike")
    assert (
        decide(name, options, {**shown(), "probes": probes(values)})["verdict"] == "not applicable"
    )


def strategic(agree: float):
    """Tables in which the diagnostic is this much higher in one cluster, at any accuracy."""
    draw = np.random.default_rng(1)
    values = agree * np.array(CLUSTER) + draw.uniform(0, 0.1, SEEDS)
    gaps = planted.parted(CLUSTER, [f"nli/seed{k}" for k in range(SEEDS)])
    rows = gaps.assign(
        experiment="nli", path="linear", alignment="none", batchnorm="interpolate",
        eval_set="test", metric="loss",
    )  # fmt: skip
    accuracy = draw.uniform(0.8, 0.9, SEEDS)
    ends = [(a, b, t) for a, b in combinations(range(SEEDS), 2) for t in (0, 1)]
    paths = pd.DataFrame(
        {
            "experiment": "nli", "eval_set": "test", "t": t, "model_a": f"nli/seed{a}",
            "model_b": f"nli/seed{b}", "accuracy": accuracy[b if t else a],
        }
        for a, b, t in ends
    )  # fmt: skip
    found = probes(values)
    found["value"] += 2 * np.tile(accuracy, 4) * (found["value"] >= 0)
    return {"clusters": clusters(), "probes": found, "barriers": rows, "paths": paths}


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_strategies_are_held_against_gaps_at_equal_accuracy(name):
    """Of two clusters a few models make all of a correlation: its interval is wide at 12."""
    wide = {"inconclusive"} if name == "strategy_gap" else set()
    for agree, verdicts in ((0.5, {"supported"} | wide), (0.0, {"inconclusive", "contradicted"})):
        entry = decide(name, {**SLICE, "threshold": 0.0}, strategic(agree))
        assert entry["verdict"] in verdicts, entry
        assert (entry["estimate"] > 0.3) == (agree > 0)
    assert decide("strategy_between", {**SLICE, "threshold": 0.0}, strategic(0.5))[
        "estimate"
    ] == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("p", [0.03, 0.3])
def test_strategies_correlate_with_gaps_where_they_do_so_less_when_permuted(p, monkeypatch):
    monkeypatch.setattr("basins.claims.lcrgs_strategies.permutation_p", lambda *_: p)
    monkeypatch.setattr(
        "basins.claims.lcrgs_strategies.correlation",
        lambda *_: {"mean": -0.4, "ci_low": -0.6, "ci_high": -0.2, "seeds": 12, "decides": True},
    )
    entry = decide("strategy_gap", {**SLICE, "threshold": 0.0}, strategic(0.5))
    assert entry["verdict"] == ("contradicted" if p < 0.05 else "inconclusive")
    assert ("permuted" in entry["reason"]) == (p > 0.05)


def test_strategies_that_are_permuted_keep_the_pairs_of_their_models(monkeypatch):
    """The p is that of brute force: r of gaps and differences, models permuted."""
    kept = []
    real = association.permutation_p
    monkeypatch.setattr(
        "basins.claims.lcrgs_strategies.permutation_p",
        lambda *given: kept.append(real(*given)) or kept[-1],
    )
    tables = strategic(0.5)
    entry = decide("strategy_gap", {**SLICE, "threshold": 0.0}, tables)
    rows = tables["barriers"]
    names = [f"nli/seed{k}" for k in range(SEEDS)]
    own = tables["probes"]
    own = own.loc[(own["recipe"] == "nli") & (own["slice"] == "overlap")]
    own = own.loc[own["metric"] == "accuracy"].set_index("seed")["value"].to_numpy()
    at = tables["paths"].query("t == 0").groupby("model_a")["accuracy"].first()
    last = tables["paths"].query("t == 1").groupby("model_b")["accuracy"].first()
    accuracy = np.array([{**last, **at}[name] for name in names])
    own = own - np.polyval(np.polyfit(accuracy, own, 1), accuracy)
    a, b = (rows[side].map(names.index).to_numpy() for side in ("model_a", "model_b"))
    draw = np.random.default_rng(3)
    rs = [
        np.corrcoef(rows["convexity_gap"], np.abs(dealt[a] - dealt[b]))[0, 1]
        for dealt in (own, *(draw.permutation(own) for _ in range(1999)))
    ]
    assert entry["estimate"] == pytest.approx(rs[0])
    assert kept == [pytest.approx(np.mean(np.abs(rs) >= abs(rs[0]) - 1e-12), abs=0.02)]
