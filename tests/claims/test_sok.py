"""Every claim can be reproduced, fail and stay undecided, and reads the rows that it names."""

from __future__ import annotations

import inspect
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from basins.claims import sok
from basins.errors import UserError
from basins.landscape.terrain import row
from basins.registry import check_options

MODELS = [f"net/seed{k}" for k in range(7)]
SPREAD = dict(zip(MODELS, 0.01 * np.array([1, -1, 0, 1, -1, 0, 0]), strict=True))
THRESHOLD = 0.3


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
    "a1_within": ("below", {}, pairs(*LINES, **WITHIN), None),
    "a1_apart": ("above", {}, pairs(*LINES, **BETWEEN), pairs(*LINES, **WITHIN)),
    "a1_convex": ("above", {}, pairs("A1", "second difference", **WITHIN), None),
    "a2_apart": (
        "above", {}, pairs("A2", "jensen", **BETWEEN, x=2), pairs("A2", "jensen", **WITHIN, x=2)
    ),
    "a3_soup": ("above", {}, whole("A3", "soup gain", **WITHIN, x=0), None),
    "a3_ensemble": ("below", {}, whole("A3", "soup less ensemble", **WITHIN, x=0), None),
    "a4_star": ("below", {}, single("A4", "star barrier", **WITHIN), None),
    "a4_nearer": ("below", {}, single("A4", "star barrier", **WITHIN), pairs(*LINES, **WITHIN)),
    "a5_minimum": ("below", {}, single("A5", "negative share, end"), None),
    "a5_flatter": (
        "below", {}, pairs("A5", "top eigenvalue, midpoint"), single("A5", "top eigenvalue, end")
    ),
    "a5_wider": ("above", {}, pairs("A5", "radius, midpoint"), single("A5", "radius, end")),
    "b1_early": ("above", {"step": 0}, parents("B1", "instability", x=0), None),
    "b1_stable": ("below", {"step": 9}, parents("B1", "instability", x=9), None),
    "b2_init": (
        "above", {}, pairs("B2", "barrier", group="same order"),
        pairs("B2", "barrier", group="same head"),
    ),
    "b2_cluster": ("above", {}, whole("B2", "nmi, head"), whole("B2", "nmi, order")),
    "b3_early": ("above", {"step": 4}, whole("B3", "auc", x=4), None),
    "b4_chaos": ("above", {"size": 1e-3}, pairs("B4", "barrier", x=1e-3), None),
    "c1_monotone": ("below", {}, single("C1", "violation"), None),
    "c2_straight": (
        "above", {}, single("C2", "straightness"),
        single("C2", "straightness", group="random walk", null=True),
    ),
    "c2_few": (
        "below", {}, single("C2", "participation ratio"),
        single("C2", "participation ratio", group="random walk", null=True),
    ),
    "c3_secant": ("above", {}, single("C3", "share positive", x=0), None),
    "c4_direction": (
        "above", {"against": "random direction"}, single("C4", "slope"),
        single("C4", "slope", group="random direction", null=True),
    ),
    "c4_predictable": ("above", {}, single("C4", "r2"), None),
    "c5_shared": ("above", {}, pairs("C5", "cosine", **WITHIN), None),
    "c6_asymmetric": (
        "below", {}, single("C6", "asymmetry", x=1),
        single("C6", "asymmetry", x=1, group="random direction", null=True),
    ),
    "d2_through": ("above", {}, pairs("D2", "ultrametric defect", **WITHIN), None),
    "d5_together": ("above", {}, pairs("D5", "interaction", **WITHIN), None),
    "d7_volume": ("below", {}, pairs("D7", "simplex loss excess", **WITHIN), None),
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
APART = {"a2_within", "b4_control", "c5_additive", "d1_component", "d6_diagnostic"}
"""Claims with tests of their own."""


def decide(name, options, rows, **more):
    options = {"aspect": "own", **options}
    check_options(sok.CLAIMS[name], options, name)
    table = pd.DataFrame(rows, columns=list(row("", "", 0.0)))
    settings = {"key": {"name": name, **options}, **more}
    entry = next(sok.decide({"aspects/own": table}, settings, 0.95))
    assert entry["id"] == "sok/key" and "operationalised here as test" in entry["where"]
    return entry


def wrong(rows):
    """Rows that differ from these in what names them, far off."""
    return [
        {**own, "value": -77.0, **change}
        for own in rows
        for change in ({"test": "Z9"}, {"quantity": "other"})
    ]


def test_every_claim_is_tested_here_and_says_one_sentence():
    assert set(sok.CLAIMS) == {*PLANTED, *PAIRED, *APART}
    for name, claim in sok.CLAIMS.items():
        statement = inspect.getdoc(claim) or ""
        assert statement == claim.__doc__ and statement.endswith(".") and "\n" not in statement
        assert name.partition("_")[0].upper() in sok.WHERE[name.partition("_")[0]]


@pytest.mark.parametrize("verdict", ["reproduced", "not reproduced", "undecided"])
@pytest.mark.parametrize("name", PLANTED)
def test_planted_values_are_held_against_the_threshold(name, verdict):
    direction, options, value, other = PLANTED[name]
    inside, outside = (0.1, 0.6) if direction == "below" else (0.6, 0.1)
    effect, wide = {
        "reproduced": (inside, 1), "not reproduced": (outside, 1), "undecided": (THRESHOLD, 40)
    }[verdict]  # fmt: skip
    rows = value(effect, wide) + (other(0.0, 0.0) if other else [])
    entry = decide(name, {**options, "threshold": THRESHOLD}, rows + wrong(rows))
    assert (entry["verdict"], entry["n"]) == (verdict, 7)
    assert entry["estimate"] == pytest.approx(effect, abs=0.01 if wide == 1 else 0.3)


@pytest.mark.parametrize("name", PLANTED)
def test_few_models_and_no_rows_decide_nothing(name):
    _, options, value, other = PLANTED[name]
    rows = value(0.6, 1, MODELS[:2]) + (other(0.0, 0.0, MODELS[:2]) if other else [])
    entry = decide(name, {**options, "threshold": THRESHOLD}, rows)
    assert entry["verdict"] == "undecided" and "needs 3 models, there are 2" in entry["statistic"]
    entry = decide(name, {**options, "threshold": THRESHOLD}, [])
    assert entry["verdict"] == "undecided" and "(needs " in entry["statistic"]
    assert (entry["n"], entry["estimate"], entry["ci_low"]) == (0, None, None)


def test_a_share_of_mixtures_counts_those_above_the_margin():
    small, large = (pairs("A2", "jensen", **WITHIN, x=2)(value, 0) for value in (0.01, 0.5))
    options = {"margin": 0.02, "threshold": 0.1}
    assert decide("a2_within", options, small)["verdict"] == "reproduced"
    entry = decide("a2_within", options, large)
    assert (entry["verdict"], entry["estimate"]) == ("not reproduced", 1)


def test_a_control_has_to_be_zero_and_sums_to_be_sums():
    for name, made, own in (
        ("b4_control", single("B4", "barrier", x=0), {}),
        ("c5_additive", pairs("C5", "additivity"), {}),
    ):
        for value, verdict in ((0.0, "reproduced"), (0.2, "not reproduced")):
            entry = decide(name, {"threshold": 0.05, **own}, made(value, 1 if value else 0))
            assert entry["verdict"] == verdict, name
    below = pairs("C5", "additivity")(-0.2, 1)
    assert decide("c5_additive", {"threshold": 0.05}, below)["verdict"] == "not reproduced"


def test_components_are_counted_over_all_pairs():
    def barriers(height):
        return [
            row("D1", "barrier", height(int(a[-1]), int(b[-1])), (a, b))
            for a, b in combinations(MODELS, 2)
        ]

    options = {"epsilon": 0.1}
    one = decide("d1_component", options, barriers(lambda a, b: 0.0))
    assert (one["verdict"], one["estimate"]) == ("reproduced", 1)
    apart = decide("d1_component", options, barriers(lambda a, b: float((a < 3) != (b < 3))))
    assert (apart["verdict"], apart["estimate"]) == ("not reproduced", 2)
    chain = decide("d1_component", options, barriers(lambda a, b: float(abs(a - b) > 1)))
    assert (chain["verdict"], chain["estimate"]) == ("undecided", 1)  # one link gone, it breaks


def test_intervals_widen_with_the_number_of_claims():
    rows = single("C1", "violation")(0.1, 1)
    options = {"name": "c1_monotone", "aspect": "own", "threshold": THRESHOLD}
    alone = decide("c1_monotone", {"threshold": THRESHOLD}, rows)
    among = decide(
        "c1_monotone", {"threshold": THRESHOLD}, rows, **{f"k{i}": options for i in "ab"}
    )
    assert among["ci_high"] - among["ci_low"] > 1.3 * (alone["ci_high"] - alone["ci_low"])
    assert "for 3 claims together" in among["statistic"]


def test_a_missing_table_is_named():
    settings = {"key": {"name": "c1_monotone", "aspect": "none", "threshold": 0.1}}
    with pytest.raises(UserError, match="claims.sok.key: no table 'aspects/none'"):
        list(sok.decide({"aspects/own": pd.DataFrame()}, settings, 0.95))


def lowered(name, by, wide=1.0, seeds=7):
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
    check_options(sok.CLAIMS[name], options, name)
    settings = {"key": {"name": name, **options}}
    return next(sok.decide({"barriers": table}, settings, 0.95))


@pytest.mark.parametrize("name", PAIRED)
def test_what_another_choice_lowers_is_taken_pair_by_pair(name):
    verdicts = {}
    for by, wide in ((0.6, 1), (0.1, 1), (THRESHOLD, 40)):
        entry = decide_barriers(name, lowered(name, by, wide))
        verdicts[entry["verdict"]] = entry["estimate"]
        assert entry["n"] == 7
    assert verdicts.keys() == {"reproduced", "not reproduced", "undecided"}
    assert verdicts["reproduced"] == pytest.approx(0.6, abs=0.01)  # barriers differ by far more
    entry = decide_barriers(name, lowered(name, 0.6, seeds=2))
    assert entry["verdict"] == "undecided" and "needs 3 models, there are 2" in entry["statistic"]


def test_pairs_that_only_one_choice_has_are_left_out():
    table = lowered("d4_units", 0.6)
    table = table.drop(table.index[(table["model_a"] == "a/seed0")][:1])
    assert decide_barriers("d4_units", table)["n"] == 6


@pytest.mark.parametrize(("height", "verdict"), [(0.01, "reproduced"), (0.6, "not reproduced")])
def test_only_pairs_without_a_barrier_in_domain_are_held_against_a_diagnostic(height, verdict):
    options = {"diagnostic": "hard", "epsilon": 0.02, "threshold": THRESHOLD}
    domain = pairs("D1", "barrier")(0.0, 0.1)
    apart = [MODELS[0], MODELS[1]]
    for own in domain:
        own["value"] = 9.0 if own["models"] == " + ".join(apart) else own["value"]
    diagnostic = pairs("D6", "barrier, hard")(height, 0.1)
    for own in diagnostic:  # what says nothing: a pair that is parted in domain
        own["value"] = 99.0 if own["models"] == " + ".join(apart) else own["value"]
    entry = decide("d6_diagnostic", options, domain + diagnostic + wrong(diagnostic))
    assert entry["verdict"] == verdict
    assert entry["estimate"] == pytest.approx(height, abs=0.01)
