"""The scorecard draws intervals on their claim's side, and findings say what verdicts say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from basins.report import citation, findings, scorecard, site, words

CLAIM: dict[str, Any] = {
    "id": "mmc/c3_raw", "paper": "Paper: a title", "where": "Fig. 4", "kind": "paper",
    "statement": "Paths have barriers.",
    "statistic": "mean barrier_linear of the loss on NC", "estimate": 0.5, "ci_low": 0.25,
    "ci_high": 1.0, "threshold": 0.25, "direction": "above", "n": 12, "verdict": "supported",
    "verdict_holm": "supported", "p_holm": 0.01, "reason": "", "unseen": 0.2, "confound": "",
    "smallest_effect": None, "reported": None, "matches": "not reported", "registered": "yes",
    "since": "", "exploratory": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("direction", "around"),
    [
        ("above", (0.25, 0.0, 0.75)),  # less the threshold
        ("below", (-0.25, -0.75, 0.0)),  # the other way round
        ("within", (-0.25, -0.75, 0.0)),  # 0.25 less the size
    ],
)
def test_the_claims_side_is_on_the_right(direction, around):
    (drawn,) = scorecard.intervals([{**CLAIM, "direction": direction}])
    span = min(max(map(abs, around)), 2.5 * abs(around[0]))
    for value, expected in zip(drawn[1:4], around, strict=True):
        assert value == pytest.approx(max(-1, min(1, expected / span)))
    assert (drawn.low_cut, drawn.high_cut) == (around[1] < -span, around[2] > span)


def test_an_interval_around_zero_holds_zero_within_a_margin():
    claim = {**CLAIM, "direction": "within", "estimate": 0.1, "ci_low": -0.1, "ci_high": 0.2}
    (drawn,) = scorecard.intervals([claim])
    assert drawn.high == pytest.approx(1)  # 0 lies furthest inside
    assert 0 < drawn.low < drawn.mean < drawn.high  # type: ignore[operator]


def test_the_papers_value_and_what_was_not_measured():
    absent = {**CLAIM, "estimate": None, "ci_low": None, "ci_high": None}
    with_paper, none = scorecard.intervals([{**CLAIM, "reported": 0.5}, absent])
    assert with_paper.paper == with_paper.mean
    assert none[1:4] == (None, None, None)


def test_claims_with_one_statement_are_one_row():
    second = {**CLAIM, "id": "mmc/c3_matched", "estimate": 0.75, "verdict": "inconclusive"}
    other = {**CLAIM, "id": "mmc/c1", "statement": "Another.", "kind": "ours"}
    (paper,) = scorecard.groups([CLAIM, other, second], {}, {})
    assert [row["plain"] for row in paper["rows"]] == [
        "Paths have barriers",
        "Another",
    ]
    row = paper["rows"][0]
    assert row["counts"] == [("supported", 1), ("inconclusive", 1)]
    assert row["numbers"] == "0.500 to 0.750"
    assert [claim["anchor"] for claim in row["claims"]] == [
        "claim-mmc-c3_raw", "claim-mmc-c3_matched",
    ]  # fmt: skip
    assert paper["counts"] == [("supported", 2), ("inconclusive", 1)]


def test_a_finding_says_what_its_estimates_say_and_how_certain_it_is():
    few = {**CLAIM, "id": "mmc/c12_contrast", "n": 3, "verdict": "inconclusive"}
    few["verdict_holm"] = "inconclusive"
    (card,) = findings.cards({"p": [few]}, {}, {"p": ["control"]})
    assert (card.key, card.status) == ("conjecture", "not decided with n = 3")
    suggested = "Not decided; the estimates suggest that after matching, networks of different data"
    assert card.title.startswith(f"{suggested} keep a higher barrier")
    assert card.figure == ("p", "control") and card.effects[0].claim == few["id"]
    (card,) = findings.cards({"p": [{**few, "estimate": 0.1}]}, {}, {})
    assert card.title.endswith("less than 5 points above that between networks of the same data")
    assert card.figure is None
    sure = {**few, "verdict": "supported", "verdict_holm": "supported"}
    (card,) = findings.cards({"p": [sure]}, {}, {})
    assert card.status == "supported"
    assert card.title.startswith("After matching, networks of different data keep a higher")
    (card,) = findings.cards({"p": [{**sure, "verdict_holm": "inconclusive"}]}, {}, {})
    assert card.status == "supported; not after correction for multiple comparisons"


def test_a_profile_that_decides_a_finding_goes_before_one_that_does_not():
    few = {**CLAIM, "id": "mmc/c12_contrast", "n": 3, "verdict": "inconclusive"}
    few["verdict_holm"] = "inconclusive"
    many = {**few, "id": "mmc/c12_contrast_64", "n": 10, "verdict": "contradicted", "estimate": 0.1}
    many["verdict_holm"] = "contradicted"
    (card,) = findings.cards({"few": [few], "many": [many]}, {}, {"few": ["control"]})
    assert (card.status, [effect.profile for effect in card.effects]) == (
        "decided: the opposite claim is contradicted", ["many", "few"],
    )  # fmt: skip
    assert card.others == {"undecided in": ["few"]}
    many |= {"verdict": "inconclusive", "verdict_holm": "inconclusive"}
    (card,) = findings.cards({"few": [few], "many": [many]}, {}, {})
    assert [effect.profile for effect in card.effects] == ["few", "many"]


def test_other_profiles_are_named_with_what_they_show():
    sure = {**CLAIM, "id": "mmc/c12_contrast", "verdict": "supported", "verdict_holm": "supported"}
    against = {**sure, "estimate": 0.1, "verdict": "contradicted", "verdict_holm": "contradicted"}
    against |= {"registered": "no"}
    open_ = {**against, "verdict": "inconclusive", "verdict_holm": "inconclusive"}
    ledgers = {"one": [sure], "other": [against], "open": [open_], "third": [sure]}
    (card,) = findings.cards(ledgers, {}, {})
    assert card.status == "supported"
    assert card.others == {"not in": ["other"], "also": ["third"], "undecided in": ["open"]}


def test_profiles_that_decide_the_opposite_as_surely_have_no_common_answer():
    sure = {**CLAIM, "id": "mmc/c12_contrast", "verdict": "supported", "verdict_holm": "supported"}
    against = {**sure, "estimate": 0.1, "verdict": "contradicted", "verdict_holm": "contradicted"}
    (card,) = findings.cards({"one": [sure], "other": [against]}, {}, {})
    assert card.status == "decided both ways"
    assert card.title.startswith("In one, but not in other: after matching, networks of different")
    late = {**against, "registered": "no"}
    (card,) = findings.cards({"one": [sure], "late": [late]}, {}, {})
    assert card.status == "supported" and card.others == {"not in": ["late"]}


def test_the_surest_profile_provides_the_text():
    sure = {**CLAIM, "id": "mmc/c12_contrast"}
    once = {**sure, "verdict_holm": "inconclusive"}
    late = {**sure, "registered": "no"}
    (card,) = findings.cards({"once": [once], "late": [late], "sure": [sure]}, {}, {})
    assert [effect.profile for effect in card.effects] == ["sure", "late", "once"]
    assert card.status == "supported"
    (card,) = findings.cards({"late": [{**late, "verdict_holm": "inconclusive"}]}, {}, {})
    assert card.status == "supported; not after correction for multiple comparisons; exploratory"


def merges(ensemble: float, spread: float = 0.0) -> dict[str, pd.DataFrame]:
    accuracy = {("deep_ensemble", "nc"): 0.8, ("uniform_soup", "nc"): 0.79}
    accuracy |= {("deep_ensemble", "ri"): ensemble, ("uniform_soup", "ri"): 0.1}
    table = pd.DataFrame(
        {
            "technique": technique, "alignment": "none", "batchnorm": "reset", "members": 3,
            "eval_set": eval_set, "set": seed, "n": 100, "loss": 1.0, "loss_se": 0.1,
            "accuracy": value + 0.01 * seed + spread * (value == ensemble) * (seed - 1),
        }
        for (technique, eval_set), value in accuracy.items()
        for seed in range(3)
    )  # fmt: skip
    return {"merge/finetuned": table}


@pytest.mark.parametrize(("ensemble", "apart"), [(0.8, True), (0.15, False)])
def test_merging_is_told_as_the_rows_have_it(ensemble, apart):
    (card,) = findings.cards({}, {"p": merges(ensemble)}, {"p": ["merges"]})
    assert card.title == (findings.APART if apart else findings.MIXED)
    values = {effect.what: effect.value for effect in card.effects}
    assert values["RI, ensemble"].startswith(f"{100 * ensemble + 1:.1f} [")
    said, sentences = site.answer([card], [CLAIM])
    assert said.startswith("Two models" if apart else "Do networks")
    assert len(sentences) == 1 + apart and "1 are supported" in sentences[-1]


def test_profiles_whose_merges_decide_nothing_are_named_as_undecided():
    tables = {"p": merges(0.8), "open": merges(0.4, spread=0.3), "equal": merges(0.12)}
    (card,) = findings.cards({}, tables, {})
    assert card.title == findings.APART
    assert card.others == {"undecided in": ["open"], "not in": ["equal"]}


def test_terms_lead_to_their_meaning_once_and_nothing_breaks_out():
    shown = words.linked("RI <b>, RI and a barrier")
    assert shown.count('href="#term-ri-random-image"') == 1
    assert 'href="#term-loss-barrier"' in shown and "&lt;b&gt;" in shown
    anchors = [words.anchor(term) for term in words.GLOSSARY]
    assert len(set(anchors)) == len(anchors)
    for line in words.markdown().splitlines()[4:]:
        assert not line or line.startswith("**")


def test_every_number_has_a_macro_that_latex_can_read(tmp_path):
    text = citation.macros({"laptop": [CLAIM]})
    assert citation.command("laptop", "mmc/c3_raw") == "laptopMmcCthreeRaw"
    assert "\\newcommand{\\laptopMmcCthreeRaw}{0.500}" in text
    assert "\\newcommand{\\laptopMmcCthreeRawN}{12}" in text


def test_the_papers_are_cited_as_the_project_cites_them():
    text = citation.bibtex(Path(__file__).parents[2] / "CITATION.cff")
    assert text.count("@inproceedings{") == 2 and "@inproceedings{lubana2023," in text
    assert text.count("{") == text.count("}")


def test_tabs_lead_to_all_pages_in_the_order_of_the_story():
    tabs = site.tabs(["mnli", "mine", "cifar"], "cifar")
    assert [tab.text for tab in tabs] == ["Overview", "cifar", "mnli", "mine"]
    assert [tab.current for tab in tabs] == [False, True, False, False]
    assert [tab.href for tab in tabs][:2] == ["../index.html", "../cifar/index.html"]
    assert [tab.href for tab in site.tabs(["cifar"])] == ["index.html", "cifar/index.html"]


def test_a_page_does_not_depend_on_the_order_of_a_set():
    drawn = (
        "from tests.report import test_scorecard as t; from basins.report import scorecard;"
        "claims = [{**t.CLAIM, 'id': f'mmc/{k}', 'reported': .5, 'matches': m, 'verdict': v}"
        " for k, (m, v) in enumerate(__import__('itertools').product("
        "('yes', 'no', 'not reported'), ('supported', 'inconclusive', 'contradicted')))];"
        "print(scorecard.groups(claims, {}, {}))"
    )
    pages = {
        subprocess.run(
            [sys.executable, "-c", drawn],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in "38"  # under the second, both sets come in the reverse order of the first
    }
    assert len(pages) == 1
