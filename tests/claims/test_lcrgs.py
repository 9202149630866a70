"""Every claim can be supported, contradicted and inconclusive, and reads the rows that it names."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from basins.claims.lcrgs import paper
from basins.claims.results import Results
from basins.errors import UserError
from basins.statistics import association
from tests.claims import planted
from tests.claims.planted import SEEDS, SPREAD, THRESHOLD, VERDICTS

CLUSTER = [0, 1, 0, 1, 0, 1, 0, 1, 1, 0, 1, 0]
SMALLER = [k for k, label in enumerate(CLUSTER) if label]
ON = {"experiment": "nli", "eval_set": "test"}
EARLY = {"experiment": "early", "final": "nli", "eval_set": "test"}
CURVED = {**ON, "experiment": "curves", "path": "bezier"}
BENT = {**CURVED, "clusters": "nli"}
SLICE = {"experiment": "nli", "slice": "overlap"}


def gap(value):
    return {"convexity_gap": value}


def straight(value):
    return {"barrier_linear": value}


def mid(value):
    return {"barrier_mid": value}


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
CHOICE = {"experiment": "nli", "measure": "convexity_gap"}
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
TESTS = {"c3_several", "control_forced", "control_planted", "control_basin"}
STRATEGIES = {"strategy_between", "strategy_gap"}
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
APART = {"c9_apart", "c9_grows", "c9_growth", "c9_trapped", "c9_correlation", "c12_across"}
PARTED = {name for name, (_, which, *_) in PAIRS.items() if which != "all"}
VARIED = {"c4_score", "c4_given", "c5_reversed", "c6_paws", "c10_rival"}


def decide(name, options, tables):
    entry = planted.decide(paper, name, options, tables)
    assert entry["id"] == "lcrgs/key" and entry["where"]
    return entry


def effect(name, verdict):
    return planted.effect(paper.claims[name].side, verdict)


def test_every_claim_is_tested_here():
    assert set(paper.claims) == {*PAIRS, *ROWS, *PUBLISHED, *MODELS, *TESTS, *APART, *STUDY}


def clusters(labels=CLUSTER, experiment="nli", recipe="nli"):
    models = [f"{recipe}/seed{k}" for k in range(len(labels))]
    own = pd.DataFrame({"experiment": experiment, "model": models, "cluster": labels})
    others = own.assign(cluster=own["cluster"].to_numpy()[::-1], measure="distance")
    return pd.concat([own.assign(measure="convexity_gap"), others])


def probes(values, noise=0.001):
    """What models score on the diagnostic, and rows that say nothing."""
    rows = pd.DataFrame(
        {
            "recipe": "nli", "seed": k, "slice": "overlap", "metric": "accuracy", "value": value,
            "ci_low": value - 1.96 * noise, "ci_high": value + 1.96 * noise,
        }
        for k, value in enumerate(values)
    )  # fmt: skip
    wrong = {"recipe": "other", "slice": "swap", "metric": "loss"}
    return pd.concat(
        [rows.assign(**{key: name}, value=-7.0) for key, name in wrong.items()] + [rows]
    )


@pytest.fixture(autouse=True)
def clusters_are_shown(monkeypatch):
    planted.show(monkeypatch)


def shown(spread=1.0):
    """Tables with clusters, in which strategies vary."""
    return {
        "clusters": clusters(),
        "probes": probes(spread * np.linspace(0, 0.9, SEEDS)),
    }


def barriers(which, columns, other, size, spread, *, labels=CLUSTER, recipe="nli", **ids):
    """Rows of all pairs: those of the kind have the value, the others `other`; and distractors."""
    rows = []
    for a, b in combinations(range(len(labels)), 2):
        values = columns(size + spread[a] + spread[b])
        if which != "all" and (labels[a] != labels[b]) != (which == "between"):
            values = dict.fromkeys(values, other)
        pair = [f"{recipe}/seed{a}", f"{recipe}/seed{b}"][:: (-1) ** (a + b)]
        zeros = dict.fromkeys(("convexity_gap", "barrier_linear"), 0.0)
        rows.append({"model_a": pair[0], "model_b": pair[1], **zeros, **values})
    frame = pd.DataFrame(rows).assign(
        experiment="nli", path="linear", alignment="none", batchnorm="interpolate",
        eval_set="test", metric="loss",
    ).assign(**ids)  # fmt: skip
    wrong = [
        frame.assign(**{column: value}, **dict.fromkeys(columns(0.0), -7.0))
        for column, value in {
            "experiment": "other", "path": "chain", "alignment": "star", "batchnorm": "reset",
            "eval_set": "dev", "metric": "error",
        }.items()
    ]  # fmt: skip
    return pd.concat([*wrong, frame])


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


@pytest.mark.parametrize("name", sorted(TESTS))
def test_clusters_are_supported_or_not_shown_but_never_contradicted(name, monkeypatch):
    for decides, note, verdict in ((True, "", "supported"), (False, "alike", "inconclusive")):
        planted.show(monkeypatch, decides, note)
        entry = decide(name, {"experiment": "nli"}, shown())
        assert (entry["verdict"], entry["reason"], entry["n"]) == (verdict, note, SEEDS)


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
    for factor, share, verdict in (
        ("head", 0.7, "supported"), ("order", 0.1, "contradicted"), ("dropout", 0, "contradicted")
    ):  # fmt: skip
        entry = decide("share_of", {**options, "factor": factor}, tables)
        assert entry["estimate"] == pytest.approx(share, abs=0.03)
        assert (entry["verdict"], entry["n"]) == (verdict, 12)  # heads and orders, not models
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
