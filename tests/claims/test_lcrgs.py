"""Every claim can be reproduced, fail and stay undecided, and reads the rows that it names."""

from __future__ import annotations

import inspect
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from basins.claims import lcrgs
from basins.errors import UserError
from basins.registry import check_options

CLUSTER = [0, 1, 0, 1, 0, 1, 0]
SPREAD = 0.01 * np.array([1, -1, 0, 1, -1, 0, 0])  # what each model adds to its pairs
WIDE = 40 * SPREAD
THRESHOLD = 0.3
ON = {"experiment": "nli", "eval_set": "test"}
EARLY = {"experiment": "early", "final": "nli", "eval_set": "test"}
CURVED = {**ON, "experiment": "curves", "clusters": "nli", "path": "bezier"}
SLICE = {"experiment": "nli", "slice": "overlap"}
F1 = {**SLICE, "metric": "f1"}


def shifted(value):
    return {"barrier_endpoint": value + 0.2, "barrier_mean": value + 1.2}


# Of each claim about pairs: where the paper has it, its options, the kind of pairs that it is
# about, and the columns in which the value is planted. Other pairs have what stands last.
PAIRS = {
    "c1_gap": ("above", ON, "between", lambda v: {"convexity_gap": v}, 9.0),
    "c1_ratio": (
        "above", {**ON, "ratio": 2.0}, "between", lambda v: {"convexity_gap": v + 0.4}, 0.2
    ),
    "c2_barrier": ("below", ON, "between", lambda v: {"barrier_linear": v}, 9.0),
    "c2_missed": (
        "above", ON, "between", lambda v: {"convexity_gap": v + 0.2, "barrier_linear": 0.2}, 9.0
    ),
    "c7_midpoint": ("below", ON, "within", lambda v: {"barrier_mid": v}, 9.0),
    "c8_plateau": ("below", {**ON, "share": 0.1}, "between", shifted, 9.0),  # the change is 2
    "c11_within": ("below", ON, "within", lambda v: {"convexity_gap": v}, 9.0),
    "c12_connected": ("below", CURVED, "between", lambda v: {"barrier_linear": v}, 9.0),
    "c12_worse": ("above", CURVED, "between", lambda v: {"barrier_mid": v}, 9.0),
    "c12_across": ("above", CURVED, "between", lambda v: {"barrier_mid": v}, 0.0),
    "c9_apart": ("above", EARLY, "between", lambda v: {"convexity_gap": v}, 0.0),
}  # fmt: skip

CHOICE = {"experiment": "nli", "measure": "convexity_gap"}
HELD = {**CHOICE, "slice": "overlap", "metric": "accuracy"}
# Of each claim about one row: where the paper has it, its options, and the row.
ROWS = {
    "c3_several": ("above", "cluster_choice", {"experiment": "nli"}, CHOICE, "chosen"),
    "c3_two": ("below", "cluster_choice", {"experiment": "nli"}, CHOICE, "chosen"),
    "c3_minority": ("below", "cluster_choice", {"experiment": "nli"}, CHOICE, "smallest"),
    "c11_triangles": ("below", "cluster_choice", {"experiment": "nli"}, CHOICE, "triangle_excess"),
    "c4_score": ("below", "association", SLICE, HELD, "pearson"),
    "c4_given": ("below", "association", SLICE, HELD, "partial"),
    "c4_auc": ("above", "association", SLICE, HELD, "auc"),
    "c5_reversed": ("above", "association", SLICE, HELD, "difference"),
    "c6_paws": ("below", "association", SLICE, {**HELD, "metric": "f1"}, "difference"),
    "c10_rival": ("above", "association", SLICE, {**HELD, "measure": "distance"}, "behind"),
}
PUBLISHED = {
    "c4_published": ("above", "auc", "Lexical (nonent)"),
    "c4_published_given": ("below", "partial", "Lexical (nonent)"),
    "c5_published_swap": ("below", "small", "ln_subject/object_swap"),
    "c5_published_entailed": ("above", "small", "Lexical (entailed)"),
    "c5_published_reversed": ("above", "difference", "Constituent (nonent)"),
}
MODELS = {"c5_swap": "below", "c5_entailed": "above"}
APART = {"c9_grows", "c9_trapped"}  # tests of their own


def decide(name, options, tables):
    check_options(lcrgs.CLAIMS[name], options, name)
    (entry,) = lcrgs.decide(tables, {"key": {"name": name, **options}}, 0.95)
    assert entry["id"] == "lcrgs/key" and entry["where"]
    return entry


def effects(direction):
    inside, outside = ("reproduced", "not reproduced")
    if direction == "above":
        inside, outside = outside, inside
    return [(inside, 0.1, SPREAD), (outside, 0.6, SPREAD), ("undecided", 0.3, WIDE)]


def cases(claims):
    return [
        pytest.param(name, *rest, verdict, effect, spread, id=f"{name}-{verdict}")
        for name, (direction, *rest) in claims.items()
        for verdict, effect, spread in effects(direction)
    ]


def test_every_claim_is_tested_here_and_says_one_sentence():
    assert set(lcrgs.CLAIMS) == {*PAIRS, *ROWS, *PUBLISHED, *MODELS, *APART}
    for name, claim in lcrgs.CLAIMS.items():
        assert name.partition("_")[0] in lcrgs.WHERE
        statement = inspect.getdoc(claim) or ""
        assert statement == claim.__doc__ and statement.endswith(".") and "\n" not in statement


def clusters(labels, experiment="nli", recipe="nli"):
    models = [f"{recipe}/seed{k}" for k in range(len(labels))]
    own = pd.DataFrame({"experiment": experiment, "model": models, "cluster": labels})
    others = own.assign(cluster=own["cluster"].to_numpy()[::-1], measure="distance")
    return pd.concat([own.assign(measure="convexity_gap"), others])


def barriers(kind, columns, other, effect, spread, *, labels=CLUSTER, **ids):
    """Rows of all pairs: those of the kind have the value, the others `other`; and distractors."""
    recipe = ids.pop("recipe", "nli")
    rows = []
    for a, b in combinations(range(len(labels)), 2):
        value = effect + spread[a] + spread[b]
        planted = columns(value)
        if (labels[a] != labels[b]) != (kind == "between"):
            planted = dict.fromkeys(planted, other)
        pair = [f"{recipe}/seed{a}", f"{recipe}/seed{b}"][:: (-1) ** (a + b)]
        rows.append({"model_a": pair[0], "model_b": pair[1], **planted})
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


@pytest.mark.parametrize(
    ("name", "options", "kind", "columns", "other", "verdict", "effect", "spread"), cases(PAIRS)
)
def test_pairs_are_averaged_over_models(
    name, options, kind, columns, other, verdict, effect, spread
):
    ids = {"path": options.get("path", "linear"), "experiment": options["experiment"]}
    if ids["experiment"] == "early":
        ids["recipe"] = "nli/step200"
    rows = barriers(kind, columns, other, effect, spread, **ids)
    tables = {"barriers": rows, "clusters": clusters(CLUSTER)}
    entry = decide(name, {**options, "threshold": THRESHOLD}, tables)
    assert (entry["verdict"], entry["n"]) == (verdict, 7)
    assert entry["estimate"] == pytest.approx(effect, abs=0.2 if spread is WIDE else 0.01)
    assert "pairs" not in entry["statistic"]


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_of_two_models_decide_nothing(name):
    direction, options, kind, columns, other = PAIRS[name]
    ids = {"path": options.get("path", "linear"), "experiment": options["experiment"]}
    labels = [0, 1] if kind == "between" else [0, 0]
    rows = barriers(kind, columns, other, 0.6, SPREAD, labels=labels, **ids)
    tables = {"barriers": rows, "clusters": clusters(labels)}
    assert decide(name, {**options, "threshold": THRESHOLD}, tables)["verdict"] == "undecided"


@pytest.mark.parametrize(
    ("name", "table", "options", "row", "statistic", "verdict", "effect", "spread"), cases(ROWS)
)
def test_rows_are_held_against_the_threshold(
    name, table, options, row, statistic, verdict, effect, spread
):
    half = 0.5 if spread is WIDE else 0.05
    own = {"estimate": effect, "ci_low": effect - half, "ci_high": effect + half, "n": 16}
    wrong = {"estimate": -7.0, "ci_low": -7.1, "ci_high": -6.9, "n": 3}
    rows = [{**row, "statistic": "other", **wrong}]
    rows += [{**row, key: "other", "statistic": statistic, **wrong} for key in row]
    tables = {table: pd.DataFrame([*rows, {**row, "statistic": statistic, **own}])}
    entry = decide(name, {**options, "threshold": THRESHOLD}, tables)
    assert (entry["verdict"], entry["n"], entry["estimate"]) == (verdict, 16, effect)
    few = tables[table].assign(ci_low=np.nan, ci_high=np.nan)
    entry = decide(name, {**options, "threshold": THRESHOLD}, {table: few})
    assert entry["verdict"] == "undecided" and entry["ci_low"] is None


@pytest.mark.parametrize("name", ["c4_score", "c4_given", "c4_auc"])
def test_which_cluster_is_the_better_one_is_fixed_beforehand(name):
    _, table, options, row, statistic = ROWS[name]
    found = {"estimate": 0.9, "ci_low": 0.8, "ci_high": 0.95, "n": 16}
    tables = {table: pd.DataFrame([{**row, "statistic": statistic, **found}])}
    verdicts = [
        decide(name, {**options, "sign": sign, "threshold": 0.5}, tables)["verdict"]
        for sign in ("positive", "negative")
    ]
    expected = ["reproduced", "not reproduced"]
    assert verdicts == (expected[::-1] if name == "c4_auc" else expected)
    with pytest.raises(UserError, match="sign"):
        check_options(lcrgs.CLAIMS[name], {**options, "sign": "either", "threshold": 0.5}, name)


@pytest.mark.parametrize(("name", "column", "metric", "verdict", "effect", "spread"),
                         cases(PUBLISHED))  # fmt: skip
def test_published_models_are_one_row(name, column, metric, verdict, effect, spread):
    half = 0.5 if spread is WIDE else 0.05
    columns = ["auc", "partial", "small", "difference"]
    row = {"metric": metric, "n": 100, **dict.fromkeys(columns, -7.0)}
    row |= {f"{c}_{end}": -7.0 for c in columns for end in ("low", "high")}
    row |= {column: effect, f"{column}_low": effect - half, f"{column}_high": effect + half}
    other = {**row, "metric": "other", column: 9.0}
    tables = {"published_models": pd.DataFrame([other, row])}
    entry = decide(name, {"threshold": THRESHOLD}, tables)
    assert (entry["verdict"], entry["n"], entry["estimate"]) == (verdict, 100, effect)


def probes(values, labels):
    rows = pd.DataFrame(
        {
            "recipe": "nli", "seed": k, "slice": "overlap", "metric": "accuracy",
            "value": values[k] if label else 9.0,
        }
        for k, label in enumerate(labels)
    )  # fmt: skip
    wrong = {"recipe": "other", "slice": "swap", "metric": "loss"}
    return pd.concat(
        [rows.assign(**{key: name}, value=-7.0) for key, name in wrong.items()] + [rows]
    )


@pytest.mark.parametrize(
    ("name", "verdict", "effect", "spread"),
    [(name, *effect) for name, direction in MODELS.items() for effect in effects(direction)],
)
def test_the_smaller_clusters_models_are_averaged(name, verdict, effect, spread):
    tables = {"probes": probes(effect + spread, CLUSTER), "clusters": clusters(CLUSTER)}
    entry = decide(name, {**SLICE, "threshold": THRESHOLD}, tables)
    assert (entry["verdict"], entry["n"]) == (verdict, 3)
    assert entry["estimate"] == pytest.approx(effect + spread[[1, 3, 5]].mean())
    one = [1, 0, 0, 0, 0, 0, 0]
    tables = {"probes": probes(effect + spread, one), "clusters": clusters(one)}
    assert decide(name, {**SLICE, "threshold": THRESHOLD}, tables)["verdict"] == "undecided"


@pytest.mark.parametrize(("verdict", "effect", "spread"), effects("above"))
def test_growth_is_of_the_same_pairs(verdict, effect, spread):
    def gap(value):
        return {"convexity_gap": value + 0.2}

    early = barriers("between", gap, 0.1, 0.0, 5 * SPREAD, experiment="early", recipe="nli/step2")
    late = barriers("between", gap, 0.1, effect, spread + 5 * SPREAD)
    rows = pd.concat([part.loc[part["convexity_gap"] != -7] for part in (early, late)])
    tables = {"barriers": rows, "clusters": clusters(CLUSTER)}
    entry = decide("c9_grows", {**EARLY, "threshold": THRESHOLD}, tables)
    assert (entry["verdict"], entry["n"]) == (verdict, 7)
    assert entry["estimate"] == pytest.approx(effect, abs=0.2 if spread is WIDE else 0.01)


def test_models_are_trapped_where_early_clusters_are_the_final_ones():
    early = barriers(
        "between", lambda v: {"convexity_gap": v}, 0, 1, SPREAD, experiment="early",
        recipe="nli/step2",
    )  # fmt: skip
    verdicts = {}
    for key, labels in {
        "same": CLUSTER,
        "renamed": [1 - label for label in CLUSTER],
        "other": [0, 0, 0, 1, 1, 1, 1],
        "one moved": [1, *CLUSTER[1:]],
    }.items():
        own = clusters(labels, "early", "nli/step2")
        tables = {"barriers": early, "clusters": pd.concat([own, clusters(CLUSTER)])}
        entry = decide("c9_trapped", {**EARLY, "threshold": 0.8}, tables)
        verdicts[key] = entry["verdict"], round(entry["estimate"], 3)
    assert verdicts["same"] == verdicts["renamed"] == ("reproduced", 1)
    assert verdicts["other"][0] == "not reproduced" and verdicts["other"][1] < 0.5
    assert verdicts["one moved"] == ("undecided", round(15 / 21, 3))
    with pytest.raises(UserError, match="no seed in common"):
        unlike = clusters(CLUSTER).replace({"model": r"seed"}, {"model": "seed9"}, regex=True)
        decide("c9_apart", {**EARLY, "threshold": 0.8}, {**tables, "clusters": unlike})


def test_what_is_missing_is_named():
    rows = barriers("between", lambda v: {"convexity_gap": v}, 0.0, 0.5, SPREAD)
    tables = {"barriers": rows, "clusters": clusters(CLUSTER)}
    options = {**ON, "threshold": 0.1}
    with pytest.raises(UserError, match="claims.lcrgs.key: barriers has no eval_set 'train'"):
        decide("c1_gap", {**options, "eval_set": "train"}, tables)
    with pytest.raises(UserError, match="no table 'clusters'; there are: barriers"):
        decide("c1_gap", options, {"barriers": rows})
    with pytest.raises(UserError, match="no table 'published_models'"):
        decide("c4_published", {"threshold": 0.9}, tables)
