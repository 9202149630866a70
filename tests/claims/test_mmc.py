"""Every claim can be supported, contradicted and inconclusive, and reads the rows that it names."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest

from basins.claims.mmc import paper
from basins.claims.published import PUBLISHED, reported
from basins.errors import UserError
from tests.claims import planted
from tests.claims.planted import SEEDS, SPREAD, THRESHOLD, VERDICTS, WIDE

TUNED = {"group": "tuned", "method": "cbft"}
# What each claim holds against .3, and of which accuracies: of one set, or of two.
ACCURACIES = {
    "c4_gap": (("tuned/cbft", "nc"), ("tuned/cbft", "rc")),
    "c5_gap": (("tuned/cbft", "nc"), ("tuned/cbft", "rc")),
    "c5_reliance": (("tuned/cbft", "ri"), None),
    "c6_others": (("tuned/cbft", "ri"), None),
    "c6_random_cue": (("tuned/cbft", "nc"), ("tuned/cbft", "rc")),
    "c6_own_cue": (("tuned/cbft", "nc"), ("tuned/cbft", "c")),
    "c6_reliance": (("tuned/cbft", "ri"), None),
    "c6_cost": (("tuned/cbft", "nc"), ("tuned/medium", "nc")),
    "c7_scratch": (("tuned/cbft", "nc"), ("tuned/medium", "nc")),
    "c8_no_barrier_loss": (("tuned/cbft", "ri"), None),
    "c8_no_invariance_loss": (("tuned/cbft", "nc"), ("tuned/cbft", "c")),
    "c10_reliance": (("tuned/cbft", "ri"), ("tuned/medium", "ri")),
}
# Of each claim about paths: its options, and how its rows differ from the usual ones.
CURVE = {"path": "bezier", "eval_set": "c", "batchnorm": "reset_cued"}
STAR = {"alignment": "star", "init": "shared"}
FROM_CUED = {"start": "cued", "end": "tuned/cbft", "init": "shared", "eval_set": "c"}
BARRIERS = {
    "c1_connected": ({**CURVE}, {**CURVE, "column": "barrier_endpoint"}),
    "c2_counterfactual": ({**CURVE}, CURVE),
    "c3_barrier": (STAR, STAR),
    "c4_connected": (TUNED, FROM_CUED),
    "c5_barrier": (TUNED, FROM_CUED),
    "c9_barrier": (TUNED, {**FROM_CUED, "metric": "loss"}),
}  # fmt: skip
TOYS = {
    "c11_patterns": ({"toy": "net", "connected": 0.05}, "patterns"),
    "c11_connected": ({"toy": "net", "kind": "same_complex"}, "barrier_best"),
    "c11_barrier": ({"toy": "net", "kind": "same_complex"}, "barrier_bound"),
}
ALIGNED = {"experiment": "joined", "alignment": "star"}
SAME = "same data, separate init"
PROFILES = {
    "c12_contrast": ALIGNED,
    "c12_conjecture": {**ALIGNED, "kind": SAME, "similar": 0.1},
}
# Of each claim about widths, the pairs whose barrier speaks for it.
RAISED = {"c12_narrow": ("same", "narrow"), "c12_mechanism": ("different", "wide")}


def decide(name, options, tables, confidence=0.95):
    return planted.decide(paper, name, options, tables, confidence)


def effect(name, verdict):
    return planted.effect(paper.claims[name].side, verdict)


def test_every_claim_is_tested_here():
    assert set(paper.claims) == {*ACCURACIES, *BARRIERS, *TOYS, *PROFILES, *RAISED}


def probes(accuracies):
    """Rows of these accuracies, among others of the same models that count for no claim."""
    rows = []
    for (recipe, slice_), values in accuracies.items():
        for seed, value in enumerate(values):
            rows += [
                (recipe, "counterfactual", slice_, "loss", seed, 9.0),
                (recipe, "other", slice_, "accuracy", seed, 9.0),
                ("cued", "counterfactual", slice_, "accuracy", seed, 9.0),
                (recipe, "counterfactual", slice_, "accuracy", seed, value),
            ]
    keys = ["recipe", "diagnostic", "slice", "metric", "seed", "value"]
    return {"probes": pd.DataFrame(rows, columns=keys)}


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("name", ACCURACIES)
def test_accuracies_are_compared_within_seeds(name, verdict):
    of, less = ACCURACIES[name]
    size, spread = effect(name, verdict)
    every = [(r, s) for r in ("tuned/cbft", "tuned/medium") for s in ("nc", "c", "rc", "ri")]
    accuracies = dict.fromkeys(every, np.full(SEEDS, 7.0))
    shared = np.linspace(0, 0.2, SEEDS)  # what seeds differ by cancels in a difference
    accuracies |= {of: size + spread + shared, less: shared} if less else {of: size + spread}
    other = {"other": "medium"} if less and less[0] == "tuned/medium" else {}
    entry = decide(name, {**TUNED, **other, "threshold": THRESHOLD}, probes(accuracies))
    assert (entry["verdict"], entry["n"]) == (verdict, SEEDS)
    assert entry["estimate"] == pytest.approx(size + spread.mean())


def test_a_gap_that_is_as_large_the_other_way_is_no_equality():
    table = probes({("tuned/cbft", "nc"): 0.1 + SPREAD, ("tuned/cbft", "rc"): np.full(SEEDS, 0.7)})
    assert decide("c5_gap", {**TUNED, "threshold": 0.3}, table)["verdict"] == "contradicted"


def test_the_papers_number_is_that_of_its_table():
    assert reported("cifar10/80", "cbft", "ri") == pytest.approx(0.0968)
    assert reported("cifar10/80", "large", "ri") is None is reported(None, "cbft", "ri")
    assert reported("cifar10/80", "scratch", "c") is None
    assert [len(row) for methods in PUBLISHED["cifar10"].values() for row in methods.values()] == (
        [4] * 24
    )
    rows = {("tuned/cbft", "nc"): 0.7 + SPREAD, ("tuned/cbft", "rc"): 0.695 + 0 * SPREAD}
    options = {**TUNED, "published": "cifar10/80", "threshold": 0.3}
    entry = decide("c6_random_cue", options, probes(rows))
    assert (entry["reported"], entry["matches"]) == (pytest.approx(0.005), "yes")
    rows[("tuned/cbft", "nc")] = 0.8 + SPREAD
    entry = decide("c6_random_cue", options, probes(rows))
    assert (entry["verdict"], entry["matches"]) == ("supported", "no")


def barriers(size, spread, changed):
    """Rows of a pair a seed, and rows that must not be taken for them, each wrong in one key."""
    row = {
        "experiment": "joined", "path": "linear", "alignment": "none", "batchnorm": "reset",
        "eval_set": "nc", "metric": "error", "start": "nocue", "end": "cued", "init": "separate",
        "column": "barrier_linear",
    } | changed  # fmt: skip
    column, columns = row.pop("column"), ("barrier_linear", "barrier_endpoint", "barrier_mean")

    def rows(value=None, **wrong):
        own = {**row, **wrong}
        start, end, init = (own.pop(key) for key in ("start", "end", "init"))
        for k in range(SEEDS):
            seed = k if init == "shared" else (k + 1) % SEEDS
            values = dict.fromkeys(columns, 9.0) | (
                {column: size + spread[k]} if value is None else {}
            )
            yield {"model_a": f"{start}/seed{k}", "model_b": f"{end}/seed{seed}", **own, **values}

    wrong = {key: "other" for key in row if key not in ("start", "end", "init")}
    wrong |= {"init": "shared" if row["init"] == "separate" else "separate"}
    wrong |= {"end": "tuned/medium" if row["start"] == "cued" else row["start"]}
    decoys = [own for key, value in wrong.items() for own in rows(9.0, **{key: value})]
    return {"barriers": pd.DataFrame([*decoys, *rows()])}


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("name", BARRIERS)
def test_barriers_are_those_of_the_named_rows(name, verdict):
    options, changed = BARRIERS[name]
    size, spread = effect(name, verdict)
    options = {"experiment": "joined", **options, "threshold": THRESHOLD}
    entry = decide(name, options, barriers(size, spread, changed))
    assert (entry["verdict"], entry["n"]) == (verdict, SEEDS)
    assert entry["estimate"] == pytest.approx(size + spread.mean())


def seed_pairs(size, spread, recipes=("a", "b")):
    """All pairs of models of other seeds; the value of a pair is the mean of its seeds' own."""
    return pd.DataFrame(
        {
            "model_a": f"{recipes[0]}/seed{i}",
            "model_b": f"{recipes[1]}/seed{j}",
            "value": size + (spread[i] + spread[j]) / 2,
        }
        for i, j in combinations(range(SEEDS), 2)
    )


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("name", TOYS)
def test_toys_are_averaged_over_seeds(name, verdict):
    options, column = TOYS[name]
    size, spread = effect(name, verdict)
    rows = seed_pairs(size, 2 * spread).rename(columns={"value": column})
    rows = rows.assign(kind="same_complex", barrier=7.0)
    if column == "patterns":
        rows = rows.assign(barrier_best=0.05)
    others = rows.assign(kind="different", barrier_best=7.0, patterns=7.0)
    tables = {"toy/net": pd.concat([others, rows, others], ignore_index=True)}
    entry = decide(name, {**options, "threshold": THRESHOLD}, tables)
    assert (entry["verdict"], entry["n"]) == (verdict, SEEDS)
    assert entry["estimate"] == pytest.approx(size + 2 * spread.mean())


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("name", PROFILES)
def test_invariances_are_held_against_barriers(name, verdict):
    size, spread = effect(name, verdict)
    same = seed_pairs(size, 2 * spread, ("nocue", "nocue")).assign(kind=SAME, distance=0.1)
    other = seed_pairs(2.0, SPREAD, ("nocue", "cued"))
    if name == "c12_contrast":
        # What the seeds do to both groups cancels in their difference.
        same = same.assign(value=other["value"] - same["value"])
    other = other.assign(kind="different data, separate init", distance=0.9)
    rows = pd.concat([same, other, same.assign(kind="same data, shared init", value=7.0)])
    if name == "c12_conjecture":
        rows = pd.concat([rows, same.assign(distance=0.11, value=7.0)])
    ids = {"experiment": "joined", "path": "linear", "alignment": "star", "batchnorm": "reset"}
    ids |= {"eval_set": "nc", "metric": "error"}
    rows = rows.rename(columns={"value": "barrier_linear"}).assign(**ids)
    decoys = [rows.assign(**{key: "other", "barrier_linear": 7.0}) for key in ids]
    tables = {"invariance": pd.concat([*decoys, rows])}
    entry = decide(name, {**PROFILES[name], "threshold": THRESHOLD}, tables)
    assert (entry["verdict"], entry["kind"]) == (verdict, "control")
    assert entry["estimate"] == pytest.approx(size + 2 * spread.mean())


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("name", RAISED)
def test_widths_are_compared_by_their_means(name, verdict):
    size, spread = effect(name, verdict)
    parts = []
    for kind, width in product(("same", "different"), ("narrow", "wide")):
        mean, moved = (5 + size, 2 * spread) if (kind, width) == RAISED[name] else (5.0, 0 * spread)
        pairs = seed_pairs(mean, moved, ("nocue", "nocue" if kind == "same" else "cued"))
        # More pairs of one kind weigh no more.
        pairs = pd.concat([pairs, pairs]) if kind == "same" else pairs
        parts.append(pairs.assign(kind=f"{kind} data, separate init", experiment=width))
    rows = pd.concat(parts).rename(columns={"value": "barrier_linear"})
    ids = {"path": "linear", "alignment": "star", "batchnorm": "repair"}
    ids |= {"eval_set": "nc", "metric": "error"}
    rows = rows.assign(**ids, distance=0.5)
    others = {**ids, "kind": SAME.replace("separate", "shared")}
    decoys = [
        rows.assign(**{key: value if key == "kind" else "other"}, barrier_linear=70.0)
        for key, value in others.items()
    ]
    options = {"experiment": "narrow", "wider": "wide", "alignment": "star"}
    options |= {"batchnorm": "repair", "threshold": THRESHOLD}
    entry = decide(name, options, {"invariance": pd.concat([*decoys, rows])})
    assert (entry["verdict"], entry["kind"], entry["n"]) == (verdict, "control", SEEDS)
    assert entry["estimate"] == pytest.approx(size + 2 * spread.mean())


def test_where_no_pair_is_of_the_kind_that_a_claim_is_about_it_does_not_apply():
    rows = seed_pairs(0.9, SPREAD).rename(columns={"value": "barrier_best"})
    tables = {"toy/net": rows.assign(kind="different", patterns=1.0)}
    entry = decide("c11_patterns", {"toy": "net", "connected": 0.05, "threshold": 0.9}, tables)
    assert (entry["verdict"], entry["n"]) == ("not applicable", 0)
    assert [entry[key] for key in ("estimate", "ci_low", "ci_high", "p")] == [None] * 4


def test_two_seeds_decide_nothing():
    rows = {("tuned/cbft", "ri"): [0.9, 0.901]}
    entry = decide("c6_others", {**TUNED, "threshold": 0.3}, probes(rows))
    assert entry["verdict"] == "inconclusive" and entry["reason"]


def test_a_wider_confidence_decides_less():
    rows = probes({("tuned/cbft", "ri"): 0.35 + 3 * SPREAD})
    options = {**TUNED, "threshold": 0.3}
    assert decide("c6_others", options, rows)["verdict"] == "supported"
    assert decide("c6_others", options, rows, 0.9999999)["verdict"] == "inconclusive"
    assert decide("c6_others", options, probes({("tuned/cbft", "ri"): 0.35 + WIDE}))[
        "verdict"
    ] == "inconclusive"  # fmt: skip


def test_missing_rows_are_said_with_what_there_is():
    table = probes({("tuned/cbft", "nc"): [0.5, 0.6], ("tuned/scratch", "nc"): [0.5, 0.6, 0.7]})
    two = pd.concat(
        [barriers(0, SPREAD, {})["barriers"], barriers(0, SPREAD, {"end": "x"})["barriers"]]
    )
    tables = {**table, "barriers": two}
    against = {**TUNED, "other": "scratch", "threshold": 0.0}
    raw = {"experiment": "joined", "alignment": "none", "threshold": 0.0}
    wanted = [
        ("c4_gap", {**TUNED, "threshold": 0.1}, "probes has no slice 'rc'; there are: nc"),
        ("c6_others", {**TUNED, "method": "tiny", "threshold": 0.1}, "no recipe 'tuned/tiny'"),
        ("c7_scratch", against, "other seeds of tuned/cbft than of tuned/scratch"),
        ("c3_barrier", raw, "it joins: nocue to cued, nocue to x"),
        ("c3_barrier", {**raw, "alignment": "none2"}, "no alignment 'none2'; there are: none"),
        ("c11_barrier", {"toy": "net", "kind": "different", "threshold": 0}, "no table 'toy/net'"),
    ]
    for name, options, message in wanted:
        with pytest.raises(UserError) as raised:
            decide(name, options, tables)
        assert str(raised.value).startswith("claims.mmc.key: ")
        assert message in str(raised.value)
