"""Every claim can be supported, contradicted and inconclusive, and reads the rows that it names."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from basins.claims import sok_merging
from basins.claims.ledger import entries
from basins.claims.registration import Registration
from basins.claims.results import Results
from basins.claims.sok import paper
from basins.errors import UserError
from basins.landscape.terrain import row
from tests.claims import planted
from tests.claims.planted import THRESHOLD, VERDICTS

MODELS = [f"net/seed{k}" for k in range(planted.SEEDS)]
SPREAD = dict(zip(MODELS, planted.SPREAD, strict=True))
COUNT = len(MODELS)
LABELS = [0, 1] * (COUNT // 2)


def single(test, quantity, **more):
    """Rows of one model each."""

    def made(value, wide, models=MODELS):
        return [row(test, quantity, value + wide * SPREAD[m], [m], **more) for m in models]

    return made


def pairs(test, quantity, **more):
    """Rows of all pairs."""

    def made(value, wide, models=MODELS):
        return [
            row(test, quantity, value + wide * (SPREAD[a] + SPREAD[b]), (a, b), **more)
            for a, b in combinations(models, 2)
        ]

    return made


def whole(test, quantity, **more):
    """A row of all models, and of all but each."""

    def made(value, wide, models=MODELS):
        sets = [models, *([m for m in models if m != out] for out in models)]
        return [
            row(test, quantity, value + wide * np.mean([SPREAD[m] for m in own]), own, **more)
            for own in sets
        ]

    return made


def parents(test, quantity, **more):
    """Rows of pairs of children, whose parents are the units."""

    def made(value, wide, models=MODELS):
        return [
            row(test, quantity, value + wide * SPREAD[m], (f"{m}0", f"{m}1"), group=m, **more)
            for m in models
            for _ in range(2)
        ]

    return made


WITHIN, BETWEEN = {"group": "within"}, {"group": "between"}
LINES = ("A1", "barrier_linear")
# Of each claim: the side of the threshold, its options, the rows of the value, and of what it is
# compared with.
PLANTED = {
    "a1_within": ({}, pairs(*LINES, **WITHIN), None),
    "a1_convex": ({}, pairs("A1", "second difference", **WITHIN), None),
    "a2_apart": (
        {}, pairs("A2", "jensen", **BETWEEN, x=2), pairs("A2", "jensen", **WITHIN, x=2)
    ),
    "a3_soup": ({}, whole("A3", "soup gain", **WITHIN, x=0), None),
    "a3_ensemble": ({}, whole("A3", "soup less ensemble", **WITHIN, x=0), None),
    "a4_star": ({}, single("A4", "star barrier", **WITHIN), None),
    "a5_flatter": (
        {}, pairs("A5", "top eigenvalue, midpoint"), single("A5", "top eigenvalue, end")
    ),
    "a5_wider": ({}, pairs("A5", "radius, midpoint"), single("A5", "radius, end")),
    "b1_early": ({"step": 0}, parents("B1", "instability", x=0), None),
    "b4_chaos": ({"size": 1e-3}, pairs("B4", "barrier", x=1e-3), None),
    "c4_direction": (
        {}, single("C4", "slope"), single("C4", "slope", group="shuffled labels", null=True),
    ),
    "c4_predictable": ({}, single("C4", "r2"), None),
    "c5_shared": ({}, pairs("C5", "cosine", **WITHIN), None),
    "c6_asymmetric": (
        {}, single("C6", "asymmetry", x=1),
        single("C6", "asymmetry", x=1, group="random direction", null=True),
    ),
    "d5_together": ({}, pairs("D5", "interaction", **WITHIN), None),
    "d7_volume": ({}, pairs("D7", "simplex loss excess", **WITHIN), None),
}  # fmt: skip
USUAL = {"experiment": "own", "path": "linear", "alignment": "none", "batchnorm": "reset"}
# Of each claim that compares barriers: its options, and how its two paths differ from the usual.
PAIRED = {
    "d3_curve": (
        {"experiment": "curves", "straight": "own", "path": "bezier"},
        ({}, {"experiment": "curves", "path": "bezier"}),
    ),
    "d4_units": (
        {"experiment": "own", "alignment": "matching"},
        ({}, {"alignment": "matching"}),
    ),
    "d4_statistics": (
        {"experiment": "own", "alignment": "matching"},
        ({"alignment": "matching", "batchnorm": "interpolate"}, {"alignment": "matching"}),
    ),
}  # fmt: skip
# Claims that no interval decides, and why.
ROUGH = {
    "b2_cluster": (
        {}, whole("B2", "nmi, head"), whole("B2", "nmi, order"),
        "mutual information depends on counts of models: no interval over models has its nominal "
        "coverage",
    ),
    "b3_early": (
        {"step": 4}, whole("B3", "auc, weights", x=4), None,
        "the area counts pairs of models, and each model is scored by all others: "
        "no interval over models has its nominal coverage",
    ),
}  # fmt: skip
APART = {"a2_within", "b2_init", "d1_component", "d2_through", "d6_diagnostic"}
"""Claims with tests of their own."""
PARTED = {"a1_within", "a1_convex", "a2_apart", "a3_soup", "a3_ensemble", "a4_star"}
PARTED |= {"c4_direction", "c4_predictable"}


@pytest.fixture(autouse=True)
def clusters_are_shown(monkeypatch):
    planted.show(monkeypatch)


def clusters():
    """Tables with the clusters of the models, of two experiments on them."""
    models = pd.DataFrame({"experiment": "own", "model": MODELS, "cluster": LABELS})
    few = models.iloc[3:6].assign(experiment="few")
    both = pd.concat([models, few]).assign(measure="convexity_gap")
    return {"clusters": both}


def decide(name, options, rows):
    tables = {**clusters(), "aspects/own": pd.DataFrame(rows, columns=list(row("", "", 0.0)))}
    entry = planted.decide(paper, name, {"aspect": "own", **options}, tables)
    assert entry["id"] == "sok/key" and "operationalised here as test" in entry["where"]
    return entry


def wrong(rows):
    """Rows that differ from these in what names them, far off."""
    return [
        {**own, "value": -77.0, **change}
        for own in rows
        for change in ({"test": "Z9"}, {"quantity": "other"})
    ]


def test_every_claim_is_tested_here():
    own = paper.claims.keys() - sok_merging.part.claims.keys()
    assert own == {*PLANTED, *PAIRED, *ROUGH, *APART}
    for name in own:
        assert paper.claims[name].where.endswith(name.partition("_")[0].upper())


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("name", PLANTED)
def test_planted_values_are_held_against_the_threshold(name, verdict):
    options, value, other = PLANTED[name]
    size, spread = planted.effect(paper.claims[name].side, verdict)
    wide = 1 if spread is planted.SPREAD else 40
    rows = value(size, wide) + (other(0.0, 0.0) if other else [])
    entry = decide(name, {**options, "threshold": THRESHOLD}, rows + wrong(rows))
    assert (entry["verdict"], entry["n"]) == (verdict, COUNT)
    assert entry["estimate"] == pytest.approx(size, abs=0.01 if wide == 1 else 0.3)


@pytest.mark.parametrize("name", sorted({*PARTED, *ROUGH}))
def test_what_is_said_of_clusters_does_not_apply_where_none_are_shown(name, monkeypatch):
    planted.show(monkeypatch, False, "they look alike")
    options, value, other = (PLANTED | ROUGH)[name][:3]
    rows = value(0.6, 1) + (other(0.0, 0.0) if other else [])
    entry = decide(name, {**options, "threshold": THRESHOLD}, rows)
    assert (entry["verdict"], entry["p"]) == ("not applicable", None)
    assert entry["reason"] == "no clusters are shown in own: they look alike"


@pytest.mark.parametrize("name", ROUGH)
def test_what_has_no_interval_that_keeps_its_size_is_never_decided(name):
    options, value, other, why = ROUGH[name]
    for size in (0.9, 0.0):
        rows = value(size, 1) + (other(0.0, 0.0) if other else [])
        entry = decide(name, {**options, "threshold": THRESHOLD}, rows)
        assert (entry["verdict"], entry["p"], entry["reason"]) == ("inconclusive", None, why)
        assert entry["estimate"] == pytest.approx(size, abs=0.01)


@pytest.mark.parametrize("name", ["a2_apart", "a3_soup", "a3_ensemble", "a4_star"])
def test_sets_of_clusters_that_hang_on_one_model_decide_nothing(name, monkeypatch):
    options, value, other = PLANTED[name]
    rows = value(0.6, 1) + (other(0.0, 0.0) if other else [])
    monkeypatch.setattr(
        "basins.claims.results.unsteady", lambda gaps, *_: np.arange(len(gaps)) == 3
    )
    entry = decide(name, {**options, "threshold": THRESHOLD}, rows)
    assert (entry["verdict"], entry["p"]) == ("inconclusive", None)
    assert entry["reason"] == "without net/seed3 the clusters of the other models differ"


@pytest.mark.parametrize("name", PLANTED)
def test_few_models_decide_nothing_and_of_no_rows_nothing_is_said(name):
    options, value, other = PLANTED[name]
    few = MODELS[:3:2]  # of one cluster
    rows = value(0.6, 1, few) + (other(0.0, 0.0, few) if other else [])
    entry = decide(name, {**options, "threshold": THRESHOLD}, rows)
    assert entry["verdict"] == "inconclusive"
    assert entry["reason"]
    entry = decide(name, {**options, "threshold": THRESHOLD}, wrong(rows))
    assert entry["verdict"] == "not applicable" and "there are no " in entry["reason"]
    assert (entry["n"], entry["estimate"], entry["ci_low"]) == (0, None, None)


def test_a_share_of_mixtures_counts_those_above_the_margin():
    for margin, rest, share in ((0.5, 0.6, 1.0), (0.5, 0.4, 0.0)):
        rows = pairs("A2", "jensen", **WITHIN, x=2)(rest, 0)
        entry = decide("a2_within", {"margin": margin, "threshold": 0.1}, rows)
        assert entry["estimate"] == share
    heights = np.random.default_rng(0).uniform(0, 0.04, size=COUNT * COUNT)
    rows = [
        row("A2", "jensen", height, pair, group="within", x=2)
        for pair, height in zip(combinations(MODELS, 2), heights, strict=False)
    ]
    share = float(np.mean([one["value"] > 0.02 for one in rows]))
    for threshold, verdict in (
        (0.99, "supported"),
        (0.01, "contradicted"),
        (share, "inconclusive"),
    ):
        entry = decide("a2_within", {"margin": 0.02, "threshold": threshold}, rows)
        assert (entry["verdict"], entry["estimate"]) == (verdict, pytest.approx(share))


def factorial(head, order, heads=8, orders=2):
    """Rows of the barrier between models of a factorial, by what they share."""
    names = {(h, o): f"net/seed{orders * h + o}" for h in range(heads) for o in range(orders)}
    for (one, a), (two, b) in combinations(names.items(), 2):
        same = [x == y for x, y in zip(one, two, strict=True)]
        noise = 0.01 * ((one[0] + two[0]) % 3)
        if same[0]:
            yield row("B2", "barrier", head + noise, (a, b), group="same head")
        elif same[1]:
            yield row("B2", "barrier", order + noise, (a, b), group="same order")
        else:
            yield row("B2", "barrier", 77.0, (a, b), group="both differ")


def test_heads_are_the_units_of_a_factorial():
    for head, order, verdict in ((0.0, 0.9, "supported"), (0.9, 0.0, "contradicted")):
        entry = decide("b2_init", {"threshold": THRESHOLD}, [*factorial(head, order)])
        assert (entry["verdict"], entry["n"]) == (verdict, 8)
        assert entry["estimate"] == pytest.approx(order - head, abs=0.02)
    assert (
        decide("b2_init", {"threshold": 0.0}, [*factorial(0.5, 0.5)])["verdict"] == "inconclusive"
    )
    few = decide("b2_init", {"threshold": THRESHOLD}, [*factorial(0.0, 0.9, heads=2, orders=6)])
    assert few["verdict"] == "inconclusive"  # twelve models, but two heads


def barriers(height):
    """Rows of the barriers between models of these numbers."""
    return [
        row("D1", "barrier", height(int(a[8:]), int(b[8:])), (a, b))
        for a, b in combinations(MODELS, 2)
    ]


def test_models_are_one_component_where_those_that_join_all_have_no_barrier():
    options = {"threshold": 0.1}
    found = {
        "one": decide("d1_component", options, barriers(lambda a, b: 0.01 * (a % 2))),
        "chain": decide("d1_component", options, barriers(lambda a, b: 0.0 if b == a + 1 else 9.0)),
        "apart": decide("d1_component", options, barriers(lambda a, b: 0.5 + 0.001 * (a + b))),
    }
    assert found["one"]["verdict"] == "supported"
    assert found["chain"]["estimate"] == pytest.approx(0)
    assert found["chain"]["verdict"] == "inconclusive"  # one link gone, it breaks
    assert found["apart"]["verdict"] == "contradicted"
    assert found["apart"]["estimate"] == pytest.approx(0.5 + 0.001 * np.mean(np.arange(1, COUNT)))


def test_models_are_connected_through_others_where_these_join_them_without_a_barrier():
    drawn = np.random.default_rng(0).exponential(0.13, size=(COUNT, COUNT))
    cases = {
        # Neighbours of up to three numbers are joined: every other pair has a way, whoever is out.
        "supported": lambda a, b: 0.0 if b - a < 4 else 0.3 + 0.01 * (a % 3),
        # Without structure a way through others is lower, too, but it has a barrier.
        "contradicted": lambda a, b: 0.05 + drawn[a, b],
    }
    for verdict, height in cases.items():
        entry = decide("d2_through", {"margin": 0.02, "threshold": 0.5}, barriers(height))
        assert entry["estimate"] == (verdict == "supported")
        assert entry["verdict"] in (verdict, "inconclusive")  # all alike: only so many models
    none = decide("d2_through", {"margin": 0.02, "threshold": 0.5}, barriers(lambda a, b: 0.0))
    assert none["verdict"] == "not applicable"
    assert "no pairs with a barrier above 0.02" in none["reason"]


def test_intervals_widen_with_the_number_of_claims():
    rows = pd.DataFrame(pairs("C5", "cosine", **WITHIN)(0.4, 1))
    setting = {"name": "c5_shared", "aspect": "own", "threshold": THRESHOLD}
    results = Results({"aspects/own": rows}, 0.95)

    def width(count):
        settings = {f"k{i}": setting for i in range(count)}
        entry = next(entries(paper, results, settings, Registration()))
        assert f"one of {count} simultaneous claims" in entry["statistic"]
        return entry["ci_high"] - entry["ci_low"]

    assert width(3) > 1.2 * width(1)


def test_a_missing_table_is_named():
    settings = {"key": {"name": "c5_shared", "aspect": "none", "threshold": 0.1}}
    results = Results({"aspects/own": pd.DataFrame()}, 0.95)
    with pytest.raises(UserError, match="claims.sok.key: no table 'aspects/none'"):
        list(entries(paper, results, settings, Registration()))


def lowered(name, by, wide=1.0, seeds=COUNT):
    """Barriers between two models of each seed, on two paths: lower by so much on the second."""
    first, second = ({**USUAL, **change} for change in PAIRED[name][1])
    rows = []
    for k in range(seeds):
        ids = {"model_a": f"a/seed{k}", "model_b": f"b/seed{k}", "eval_set": "nc", "metric": "loss"}
        rows.append({**first, **ids, "barrier_linear": 1.0 + k})
        rows.append({**second, **ids, "barrier_linear": 1 + k - by - wide * SPREAD[MODELS[k]]})
        rows.append({**second, **ids, "metric": "error", "barrier_linear": -77.0})
        rows.append({**second, **ids, "eval_set": "c", "barrier_linear": -77.0})
    return pd.DataFrame(rows)


def decide_barriers(name, table):
    options = {"eval_set": "nc", "threshold": THRESHOLD, **PAIRED[name][0]}
    return planted.decide(paper, name, options, {"barriers": table})


@pytest.mark.parametrize("name", PAIRED)
def test_what_another_choice_lowers_is_taken_pair_by_pair(name):
    verdicts = {}
    for by, wide in ((0.6, 1), (0.1, 1), (THRESHOLD, 40)):
        entry = decide_barriers(name, lowered(name, by, wide))
        verdicts[entry["verdict"]] = entry["estimate"]
        assert entry["n"] == COUNT
    assert verdicts.keys() == {*VERDICTS}
    assert verdicts["supported"] == pytest.approx(0.6, abs=0.01)  # barriers differ by far more


def test_pairs_that_only_one_choice_has_are_left_out():
    table = lowered("d4_units", 0.6)
    first = np.flatnonzero(table["model_a"].to_numpy() == "a/seed0")[0]
    table = table.drop(index=first)
    assert decide_barriers("d4_units", table)["n"] == COUNT - 1


@pytest.mark.parametrize(("height", "verdict"), [(0.01, "supported"), (0.6, "contradicted")])
def test_only_pairs_without_a_barrier_in_domain_are_held_against_a_diagnostic(height, verdict):
    options = {"diagnostic": "hard", "epsilon": 0.02, "threshold": THRESHOLD}
    domain = pairs("D1", "barrier")(0.0, 0.1)
    apart = " + ".join([MODELS[0], MODELS[1]])
    for own in domain:
        own["value"] = 9.0 if own["models"] == apart else own["value"]
    diagnostic = pairs("D6", "barrier, hard")(height, 0.1)
    for own in diagnostic:  # what says nothing: a pair that is parted in domain
        own["value"] = 99.0 if own["models"] == apart else own["value"]
    entry = decide("d6_diagnostic", options, domain + diagnostic + wrong(diagnostic))
    assert entry["verdict"] == verdict
    assert entry["estimate"] == pytest.approx(height, abs=0.01)
    far = [{**own, "value": 9.0} for own in domain]
    entry = decide("d6_diagnostic", options, far + diagnostic)
    assert entry["verdict"] == "not applicable"
    assert entry["reason"] == "there are no pairs with a barrier below 0.02 in distribution"
