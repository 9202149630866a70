"""Every claim can be reproduced, fail and stay undecided, and reads the rows that it names."""

from __future__ import annotations

import inspect
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from basins.claims import mmc
from basins.errors import UserError
from basins.registry import check_options

SPREAD = np.array([-0.01, 0.0, 0.01])  # over three seeds
WIDE = 40 * SPREAD
TUNED = {"group": "tuned", "method": "cbft"}

# What each claim holds against .3 or so, and where: accuracies of the set, or of two.
ACCURACIES = {
    "c4_reliance": ("above", ("tuned/cbft", "ri"), None),
    "c4_gap": ("above", ("tuned/cbft", "nc"), ("tuned/cbft", "rc")),
    "c5_gap": ("within", ("tuned/cbft", "nc"), ("tuned/cbft", "rc")),
    "c5_reliance": ("below", ("tuned/cbft", "ri"), None),
    "c6_others": ("above", ("tuned/cbft", "ri"), None),
    "c6_random_cue": ("within", ("tuned/cbft", "nc"), ("tuned/cbft", "rc")),
    "c6_own_cue": ("within", ("tuned/cbft", "nc"), ("tuned/cbft", "c")),
    "c6_reliance": ("below", ("tuned/cbft", "ri"), None),
    "c6_cost": ("above", ("tuned/cbft", "nc"), ("tuned/medium", "nc")),
    "c7_scratch": ("above", ("tuned/cbft", "nc"), ("tuned/medium", "nc")),
    "c8_no_barrier_loss": ("above", ("tuned/cbft", "ri"), None),
    "c8_no_invariance_loss": ("above", ("tuned/cbft", "nc"), ("tuned/cbft", "c")),
    "c10_reliance": ("above", ("tuned/cbft", "ri"), ("tuned/medium", "ri")),
}

# The row of `summary/barriers` that each claim reads, where it is not that of the first.
ROW = {
    "experiment": "joined",
    "path": "linear",
    "alignment": "none",
    "recipe_a": "nocue",
    "recipe_b": "cued",
    "init": "separate",
    "batchnorm": "reset",
    "eval_set": "nc",
    "metric": "error",
    "definition": "barrier_linear",
}
CURVE = {"experiment": "joined", "path": "bezier", "eval_set": "c", "batchnorm": "reset_cued"}
CURVED = {"path": "bezier", "eval_set": "c", "batchnorm": "reset_cued"}
TO_TUNED = {
    "recipe_a": "cued",
    "recipe_b": "tuned/cbft",
    "init": "shared",
    "eval_set": "c",
    "batchnorm": "reset_cued",
}
RAW = {"experiment": "joined", "alignment": "none", "init": "shared", "batchnorm": "moving"}
FROM_CUED = {"experiment": "joined", **TUNED, "batchnorm": "reset_cued"}
BARRIERS = {
    "c1_connected": ("below", CURVE, {**CURVED, "definition": "barrier_endpoint"}),
    "c2_counterfactual": ("above", CURVE, CURVED),
    "c3_barrier": ("above", RAW, {"init": "shared", "batchnorm": "moving"}),
    "c4_connected": ("below", FROM_CUED, TO_TUNED),
    "c5_barrier": ("above", FROM_CUED, TO_TUNED),
    "c9_barrier": ("above", FROM_CUED, {**TO_TUNED, "metric": "loss"}),
}

TOYS = {
    "c11_patterns": ("above", {"toy": "net", "connected": 0.05}),
    "c11_connected": ("below", {"toy": "net", "kind": "same_complex"}),
    "c11_barrier": ("above", {"toy": "net", "kind": "same_complex"}),
}

ALIGNED = {"experiment": "joined", "alignment": "star"}
SAME = "same data, separate init"
PROFILES = {
    "c12_contrast": ("above", ALIGNED),
    "c12_conjecture": ("below", {**ALIGNED, "kind": SAME, "similar": 0.1}),
}


def decide(name, options, tables, confidence=0.95):
    check_options(mmc.CLAIMS[name], options, name)
    (entry,) = mmc.decide(tables, {"key": {"name": name, **options}}, confidence)
    assert (entry["id"], entry["threshold"]) == ("mmc/key", options["threshold"])
    return entry


def effects(direction):
    """Where an effect must lie for each verdict, against a threshold of .3, and its spread."""
    inside, outside = ("reproduced", "not reproduced")
    if direction == "above":
        inside, outside = outside, inside
    found = [(inside, 0.1, SPREAD), (outside, 0.6, SPREAD), ("undecided", 0.3, WIDE)]
    return found + ([("not reproduced", -0.6, SPREAD)] if direction == "within" else [])


def cases(claims):
    return [
        pytest.param(name, *rest, verdict, effect, spread, id=f"{name}-{verdict}-{effect}")
        for name, (direction, *rest) in claims.items()
        for verdict, effect, spread in effects(direction)
    ]


def test_every_claim_is_tested_here_and_says_one_sentence():
    assert set(mmc.CLAIMS) == {*ACCURACIES, *BARRIERS, *TOYS, *PROFILES}
    for name, claim in mmc.CLAIMS.items():
        assert name.partition("_")[0] in mmc.WHERE
        statement = inspect.getdoc(claim) or ""
        assert statement == claim.__doc__
        assert statement.endswith(".") and "\n" not in statement


def probes(accuracies):
    """Rows of these accuracies, among others of the same models that count for no claim."""
    keys = ["recipe", "diagnostic", "slice", "metric", "seed", "value"]
    rows = []
    for (recipe, slice_), values in accuracies.items():
        for seed, value in enumerate(values):
            rows += [
                (recipe, "counterfactual", slice_, "loss", seed, 9.0),
                (recipe, "other", slice_, "accuracy", seed, 9.0),
                ("cued", "counterfactual", slice_, "accuracy", seed, 9.0),
                (recipe, "counterfactual", slice_, "accuracy", seed, value),
            ]
    return {"probes": pd.DataFrame(rows, columns=keys)}


@pytest.mark.parametrize(("name", "of", "less", "verdict", "effect", "spread"), cases(ACCURACIES))
def test_accuracies_are_compared_within_seeds(name, of, less, verdict, effect, spread):
    every = [(r, s) for r in ("tuned/cbft", "tuned/medium") for s in ("nc", "c", "rc", "ri")]
    accuracies = dict.fromkeys(every, [7.0, 7.0, 7.0])
    shared = np.array([0.4, 0.1, 0.9])  # what seeds differ by cancels in a difference
    if less:
        accuracies |= {of: effect + spread + shared, less: shared}
    else:
        accuracies |= {of: effect + spread}
    other = {"other": "medium"} if less and less[0] == "tuned/medium" else {}
    entry = decide(name, {**TUNED, **other, "threshold": 0.3}, probes(accuracies))
    assert entry["verdict"] == verdict
    assert entry["n"] == 3
    assert entry["estimate"] == pytest.approx(effect)
    low, high = stats.t.interval(0.95, 2, effect, stats.sem(spread))
    assert (entry["ci_low"], entry["ci_high"]) == pytest.approx((low, high))


def test_a_difference_by_hand():
    table = probes({("tuned/cbft", "nc"): [0.5, 0.6, 0.7], ("tuned/cbft", "rc"): [0.1, 0.3, 0.2]})
    entry = decide("c4_gap", {**TUNED, "threshold": 0.1}, table)
    # differences .4, .3, .5: mean .4, deviation .1; t with two degrees of freedom at 95 %: 4.3027
    half = 4.302653 * 0.1 / np.sqrt(3)
    found = [entry[key] for key in ("estimate", "ci_low", "ci_high")]
    assert found == pytest.approx([0.4, 0.4 - half, 0.4 + half])
    assert entry["statistic"] == "mean accuracy on NC of tuned/cbft, less that on RC of tuned/cbft"
    assert (entry["where"], entry["direction"]) == ("Fig. 5", "above")
    wide = decide("c4_gap", {**TUNED, "threshold": 0.1}, table, confidence=0.999)
    assert wide["verdict"] == "undecided" != entry["verdict"]


@pytest.mark.parametrize(("name", "options", "row", "verdict", "effect", "spread"), cases(BARRIERS))
def test_barriers_are_those_of_the_named_rows(name, options, row, verdict, effect, spread):
    row = {**ROW, **row}
    low, high = (effect + 4 * spread[[0, -1]]).tolist()
    right = {**row, "mean": effect, "ci_low": low, "ci_high": high, "seeds": 3, "pairs": 6}
    # Rows that must not be taken for it, each wrong in one key.
    wrong = {key: "other" for key in row if key not in ("recipe_a", "recipe_b", "init")}
    wrong |= {"init": "shared" if row["init"] == "separate" else "separate"}
    wrong |= {"recipe_b": "tuned/medium"} if row["recipe_a"] == "cued" else {"recipe_b": "nocue"}
    others = [{**right, key: value, "mean": 9.0} for key, value in wrong.items()]
    tables = {"summary/barriers": pd.DataFrame([*others[:4], right, *others[4:]])}
    entry = decide(name, {**options, "threshold": 0.3}, tables)
    assert entry["verdict"] == verdict
    assert (entry["estimate"], entry["ci_low"], entry["ci_high"]) == (effect, low, high)
    assert entry["n"] == 3
    for key in ("definition", "metric", "path", "alignment", "batchnorm", "recipe_b"):
        assert row[key] in entry["statistic"]


def test_an_interval_that_is_not_a_number_decides_nothing():
    row = {**ROW, "mean": 0.9, "ci_low": np.nan, "ci_high": np.nan, "seeds": 1, "pairs": 1}
    options = {"experiment": "joined", "alignment": "none", "threshold": 0.05}
    entry = decide("c3_barrier", options, {"summary/barriers": pd.DataFrame([row])})
    assert (entry["verdict"], entry["estimate"]) == ("undecided", 0.9)


def seed_pairs(effect, spread, recipes=("a", "b")):
    """All pairs of models of other seeds; the value of a pair is the mean of its seeds' own."""
    return [
        {
            "model_a": f"{recipes[0]}/seed{i}",
            "model_b": f"{recipes[1]}/seed{j}",
            "value": effect + (spread[i] + spread[j]) / 2,
        }
        for i, j in combinations(range(len(spread)), 2)
    ]


def half_width(spread):
    """Of the mean over all pairs of three seeds: leaving one out leaves the pair of the others."""
    left = np.array([(spread.sum() - value) / 2 for value in spread])
    return stats.t.ppf(0.975, 2) * np.sqrt(2 / 3 * np.sum((left - left.mean()) ** 2))


@pytest.mark.parametrize(("name", "options", "verdict", "effect", "spread"), cases(TOYS))
def test_toys_are_averaged_over_seeds(name, options, verdict, effect, spread):
    columns = {"c11_patterns": "patterns", "c11_barrier": "barrier_bound"}
    column = columns.get(name, "barrier_best")
    rows = pd.DataFrame(seed_pairs(effect, spread)).rename(columns={"value": column})
    rows = rows.assign(kind="same_complex", barrier=7.0)
    if column == "patterns":
        rows = rows.assign(barrier_best=0.05)
    others = rows.assign(kind="different", barrier_best=7.0, patterns=7.0)
    tables = {"toy/net": pd.concat([others, rows, others], ignore_index=True)}
    entry = decide(name, {**options, "threshold": 0.3}, tables)
    assert entry["verdict"] == verdict
    assert entry["estimate"] == pytest.approx(effect)
    assert entry["ci_high"] - entry["estimate"] == pytest.approx(half_width(spread))
    assert entry["n"] == 3


@pytest.mark.parametrize(("name", "options", "verdict", "effect", "spread"), cases(PROFILES))
def test_invariances_are_held_against_barriers(name, options, verdict, effect, spread):
    same = pd.DataFrame(seed_pairs(effect, spread, ("nocue", "nocue")))
    same = same.assign(kind=SAME, distance=0.1)
    other = pd.DataFrame(seed_pairs(2.0, SPREAD, ("nocue", "cued")))
    if name == "c12_contrast":
        # What the seeds do to both groups cancels in their difference.
        same = same.assign(value=other["value"] - same["value"])
    other = other.assign(kind="different data, separate init", distance=0.9)
    rows = pd.concat([same, other, same.assign(kind="same data, shared init", value=7.0)])
    if name == "c12_conjecture":
        rows = pd.concat([rows, same.assign(distance=0.11, value=7.0)])
    chosen = {"experiment": "joined", "path": "linear", "alignment": "star", "batchnorm": "reset"}
    chosen |= {"eval_set": "nc", "metric": "error"}
    rows = rows.rename(columns={"value": "barrier_linear"}).assign(**chosen)
    decoys = [rows.assign(**{key: "other", "barrier_linear": 7.0}) for key in chosen]
    tables = {"invariance": pd.concat([*decoys[:3], rows, *decoys[3:]], ignore_index=True)}
    entry = decide(name, {**options, "threshold": 0.3}, tables)
    assert entry["verdict"] == verdict
    assert entry["estimate"] == pytest.approx(effect)
    assert entry["ci_high"] - entry["estimate"] == pytest.approx(half_width(spread))
    assert entry["n"] == 3


def test_no_pair_of_the_kind_a_claim_is_about_decides_nothing():
    rows = pd.DataFrame(seed_pairs(0.9, SPREAD)).rename(columns={"value": "barrier_best"})
    tables = {"toy/net": rows.assign(kind="different", patterns=1.0)}
    entry = decide("c11_patterns", {"toy": "net", "connected": 0.05, "threshold": 0.9}, tables)
    assert (entry["verdict"], entry["n"]) == ("undecided", 0)
    assert [entry[key] for key in ("estimate", "ci_low", "ci_high")] == [None, None, None]


def test_missing_rows_are_said_with_what_there_is():
    table = probes({("tuned/cbft", "nc"): [0.5, 0.6], ("tuned/scratch", "nc"): [0.5, 0.6, 0.7]})
    barriers = pd.DataFrame([ROW, {**ROW, "recipe_b": "tuned/cbft"}])
    tables = {**table, "summary/barriers": barriers}
    against = {**TUNED, "other": "scratch", "threshold": 0.0}
    raw = {"experiment": "joined", "alignment": "none", "threshold": 0.0}
    wanted = [
        ("c4_gap", {**TUNED, "threshold": 0.1}, "probes has no slice 'rc'; there are: nc"),
        ("c4_reliance", {**TUNED, "method": "tiny", "threshold": 0.1}, "no recipe 'tuned/tiny'"),
        ("c7_scratch", against, "other seeds of tuned/cbft than of tuned/scratch"),
        ("c3_barrier", raw, "it joins: nocue to cued, nocue to tuned/cbft"),
        ("c3_barrier", {**raw, "alignment": "star"}, "no alignment 'star'; there are: none"),
        ("c11_barrier", {"toy": "net", "kind": "different", "threshold": 0}, "no table 'toy/net'"),
    ]
    for name, options, message in wanted:
        with pytest.raises(UserError) as raised:
            decide(name, options, tables)
        assert str(raised.value).startswith("claims.mmc.key: ")
        assert message in str(raised.value)
