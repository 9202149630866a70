"""Every verdict can be reached, and none by accident."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from basins.claims import lcrgs, mmc, sok
from basins.claims.ledger import (
    KINDS,
    Measured,
    Paper,
    Shown,
    decide,
    entries,
    measure,
    smallest_effect,
    together,
)
from basins.claims.registration import Registration
from basins.claims.results import Results
from basins.errors import UserError
from basins.statistics.verdict import unseen

PAPERS = (mmc.paper, lcrgs.paper, sok.paper)


def interval(mean, half, seeds=12, **more):
    return {"mean": mean, "ci_low": mean - half, "ci_high": mean + half, "seeds": seeds, **more}


@pytest.mark.parametrize(
    ("mean", "half", "side", "expected"),
    [
        (0.6, 0.1, "above", "supported"),
        (0.1, 0.1, "above", "contradicted"),
        (0.35, 0.1, "above", "inconclusive"),
        (0.1, 0.1, "below", "supported"),
        (0.6, 0.1, "below", "contradicted"),
        (0.25, 0.1, "below", "inconclusive"),
        (-0.1, 0.1, "within", "supported"),
        (-0.6, 0.1, "within", "contradicted"),
        (0.25, 0.1, "within", "inconclusive"),
    ],
)
def test_an_interval_decides(mean, half, side, expected):
    found = decide(Measured("", interval(mean, half)), 0.3, side, 0.95)
    assert found["verdict"] == expected
    assert (found["p"] < 0.05) == (expected != "inconclusive")
    # Of twelve seeds, .26 may be of a kind that none of them is of.
    left = None if expected == "inconclusive" else pytest.approx(1 - 0.025 ** (1 / 12))
    assert found["unseen"] == left


@pytest.mark.parametrize(("bounds", "side", "left"), [
    ((0, 1), "above", 0.0),  # .74 * .8 > .3, whatever is unseen
    ((0, 1), "below", None),
    ((-np.inf, np.inf), "above", 0.265),
    ((0, np.inf), "above", 0.0),
])  # fmt: skip
def test_a_mean_that_the_range_itself_holds_leaves_out_no_seed(bounds, side, left):
    held = interval(0.9, 0.1, bounds=bounds, touched=unseen(12, 0.95))
    found = decide(Measured("", held), 0.3 if side == "above" else 0.95, side, 0.95)
    assert found["unseen"] == (left if left is None else pytest.approx(left, abs=1e-3))
    pairs = decide(Measured("", {**held, "touched": 0.7}), 0.3, "above", 0.95)
    assert pairs["verdict"] == "supported" and pairs["unseen"] == pytest.approx(unseen(12, 0.95))
    share = interval(0.1, 0.05, bounds=(0, 1), touched=0.0)  # exact: about all seeds
    assert decide(Measured("", share), 0.3, "below", 0.95)["unseen"] == 0
    assert decide(Measured("", {**share, "touched": 0.265}), 0.3, "below", 0.95)["unseen"] > 0


def test_what_is_not_there_is_neither_supported_nor_contradicted():
    clear = Measured("", interval(0.9, 0.01))
    lacking = decide(clear, 0.3, "above", 0.95, "no clusters are shown")
    assert (lacking["verdict"], lacking["p"]) == ("not applicable", None)
    assert lacking["reason"] == "no clusters are shown" and lacking["estimate"] == 0.9
    nothing = Measured("", interval(np.nan, np.nan, seeds=0), needs="connected pairs")
    found = decide(nothing, 0.3, "above", 0.95)
    assert found["verdict"] == "not applicable"
    assert found["reason"] == "there are no connected pairs"


def test_an_interval_that_does_not_keep_its_size_decides_nothing():
    held, reason = interval(0.9, 0.01, decides=False, note="too few"), "too few"
    for side in ("above", "below", "within"):
        found = decide(Measured("", held), 0.3, side, 0.95)
        assert (found["verdict"], found["p"], found["reason"]) == ("inconclusive", None, reason)


def test_a_test_that_does_not_reject_never_contradicts():
    for p in np.linspace(0, 1, 21):
        held = {"mean": p, "ci_low": np.nan, "ci_high": np.nan, "seeds": 12}
        found = decide(Measured("", held), 0.05, "test", 0.95)
        assert found["verdict"] == ("supported" if p < 0.05 else "inconclusive")


def test_an_exact_test_against_0_takes_the_place_of_the_intervals_p():
    held = Measured("", interval(0.6, 0.1, p=0.004))
    assert decide(held, 0.0, "above", 0.95)["p"] == 0.004
    assert decide(held, 0.3, "above", 0.95)["p"] != 0.004


def test_the_papers_number_is_matched_where_the_interval_holds_it():
    for reported, matches in ((None, "not reported"), (0.55, "yes"), (0.75, "no")):
        held = Measured("", interval(0.6, 0.1), reported=reported)
        found = decide(held, 0.3, "above", 0.95)
        assert (found["verdict"], found["matches"]) == ("supported", matches)


@pytest.mark.parametrize(
    ("side", "scale"),
    [
        *((side, "plain") for side in ("above", "below", "within")),
        ("above", "logit"),
        ("below", "logit"),
    ],
)
@pytest.mark.parametrize("half", [0.05, 0.2, 0.45])
def test_the_smallest_effect_is_the_first_of_all_estimates_that_is_supported(side, half, scale):
    unscaled, scaled = (np.arctanh, np.tanh) if scale == "logit" else (np.asarray, np.asarray)

    def held(mean):
        ends = (scaled(unscaled(mean) + k * half) for k in (-1, 1))
        low, high = map(float, ends)
        return {"mean": mean, "ci_low": low, "ci_high": high, "seeds": 12}

    grid = np.linspace(-0.9999, 0.9999, 4001)
    supported = [
        mean
        for mean in grid
        if decide(Measured("", held(mean)), 0.3, side, 0.95)["verdict"] == "supported"
    ]
    known = {**held(0.1), "bounds": (-1, 1), "scale": scale}
    found = smallest_effect(Measured("", known), 0.3, side)
    if not supported:
        assert found is None
    else:
        nearest = min(supported) if side == "above" else max(supported)
        assert found == pytest.approx(nearest, abs=1e-3)


def test_a_claim_that_no_estimate_could_support_says_so():
    share = Measured("", interval(0.15, 0.4, bounds=(0, 1)))
    found = decide(share, 0.2, "below", 0.95)
    assert found["unseen"] is None
    assert found["smallest_effect"] is None
    assert found["reason"] == "no estimate could support it with n = 12"
    assert decide(share, 0.45, "below", 0.95)["smallest_effect"] == pytest.approx(0.05)


def test_claims_held_at_once_become_inconclusive_and_never_apply_again():
    ledger = [
        {"p": 0.001, "verdict": "supported"},
        {"p": 0.03, "verdict": "contradicted"},
        {"p": None, "verdict": "not applicable"},
        {"p": 0.5, "verdict": "inconclusive"},
    ]
    verdicts = [claim["verdict_holm"] for claim in together(ledger, 0.95)]
    assert verdicts == ["supported", "inconclusive", "not applicable", "inconclusive"]


def test_a_claim_is_declared_beside_its_measure_and_has_its_options_checked():
    paper = Paper("mine", "A paper")

    @paper.above("more", "Fig. 1", kind="ours", times=2).says("Much.", confound="Luck.")
    @paper.within("none", "Fig. 2", times=0).says("Nothing.")
    @measure(Shown(rows=("rows",)))
    def size(results, *, unit: int, times: int):
        return Measured(f"{times} x {unit}", interval(times * unit, 0.1))

    settings = {"a": {"name": "more", "unit": 1, "threshold": 1.0}}
    settings |= {"b": {"name": "none", "unit": 1, "threshold": 1.0}}
    a, b = entries(paper, Results({}, 0.95), settings, Registration())
    assert (a["id"], a["kind"], a["estimate"], a["verdict"]) == ("mine/a", "ours", 2, "supported")
    assert (a["statement"], a["where"], a["confound"]) == ("Much.", "Fig. 1", "Luck.")
    assert (b["kind"], b["estimate"], b["verdict"]) == ("paper", 0, "supported")
    wrong = [
        ({"unit": "x", "threshold": 1.0}, "key.unit: 'x' is not allowed"),
        ({"unit": 1}, "key.threshold: missing"),
        ({"unit": 1, "threshold": 1.0, "times": 3}, "key.times: unknown key"),
        ({"unit": 1, "threshold": float("inf")}, "key.threshold"),
    ]
    for options, message in wrong:
        with pytest.raises(UserError, match=message):
            paper.claims["more"].check({"name": "more", **options}, "key")
    with pytest.raises(UserError, match=r"key.threshold: -1.0 is not allowed"):
        paper.claims["none"].check({"name": "none", "unit": 1, "threshold": -1.0}, "key")


def test_intervals_of_a_paper_whose_claims_are_held_at_once_have_more_confidence():
    seen = []
    paper = Paper("mine", "A paper", together=True)

    @paper.above("more", "Fig. 1").says("Much.")
    @measure(Shown())
    def size(results):
        seen.append(results.confidence)
        return Measured("size", interval(1, 0.1))

    settings = {key: {"name": "more", "threshold": 0.0} for key in "abcde"}
    list(entries(paper, Results({}, 0.95), settings, Registration()))
    assert seen == pytest.approx([0.99] * 5)


def test_a_claim_is_exploratory_unless_it_was_written_down_as_it_is():
    registration = Registration()
    registration.add("mine/a", {"threshold": 1.0}, "abc 2026-01-01", seen=False)
    registration.add("mine/b", {"threshold": 1.0}, "abc 2026-01-01", seen=True)
    assert registration.of("mine/a", {"threshold": 1.0}) == {
        "registered": "yes", "since": "abc 2026-01-01", "exploratory": "",
    }  # fmt: skip
    for identifier, threshold in (("mine/a", 0.9), ("mine/b", 1.0), ("mine/c", 1.0)):
        found = registration.of(identifier, {"threshold": threshold})
        assert found["registered"] == "no" and found["exploratory"], identifier
    digest = registration.digest()
    registration.claims["mine/a"]["settings"]["threshold"] = 0.9
    assert registration.digest() != digest


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.name)
def test_every_claim_says_one_sentence_that_no_other_says(paper):
    statements = [claim.statement for claim in paper.claims.values()]
    assert len(set(statements)) == len(statements)
    for name, claim in paper.claims.items():
        assert claim.statement.endswith(".") and ". " not in claim.statement.replace("App. ", "")
        assert claim.kind in KINDS and claim.where, name
        options = inspect.signature(claim.measure.function).parameters
        assert set(claim.fixed) <= set(options), name
        assert "threshold" not in options, name


def test_nothing_of_the_survey_is_called_the_papers():
    assert {claim.kind for claim in sok.paper.claims.values()} == {"ours"}
    assert {claim.kind for claim in lcrgs.paper.claims.values()} == set(KINDS)
