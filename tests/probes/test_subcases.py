"""HANS's subcases from the words of a pair: planted ones, those that are not certain, the file."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from basins.data import mnli, nli
from basins.probes.subcases import PATTERNS, fitting, kind, recovered

PLANTED = {
    "le_relative_clause": (
        "The actor who the judge saw thanked the banker",
        "The judge saw the actor",
    ),
    "ln_subject/object_swap": ("The actors saw the judge .", "The judge saw the actors ."),
    "ln_preposition": (
        "The actor in front of the judges saw the banker .",
        "The banker saw the actor .",
    ),
    "ln_relative_clause": (
        "The actors saw the judge that thanked the banker .",
        "The judge saw the the banker .",
    ),
    "sn_NP/S": ("The actor heard the judge slept .", "The actor heard the judge ."),
    "sn_NP/Z": ("Since the actor hid the judge saw the banker .", "The actor hid the judge ."),
    "se_understood_object": ("The actor ate the ice cream .", "The actor ate ."),
    "se_adjective": ("Happy secretaries ran .", "Secretaries ran ."),
    "ce_after_since_clause": ("In case the actor slept , the judge ran .", "The judge ran ."),
    "cn_embedded_under_if": ("In case the actor slept , the judge ran .", "The actor slept ."),
    "ce_adverb": ("Of course the actor saw the judge .", "The actor saw the judge ."),
    "cn_disjunction": ("The actor slept , or the judge ran .", "The judge ran ."),
}


def test_names_are_those_of_hans() -> None:
    assert set(PATTERNS) == set(nli.SUBCASES)


@pytest.mark.parametrize("subcase", PLANTED)
def test_planted_pairs(subcase: str) -> None:
    assert fitting(*PLANTED[subcase]) == [subcase]


@pytest.mark.parametrize(
    ("pair", "fits"),
    [
        # Words that come twice leave open which of them the hypothesis has.
        (
            ("The actor who saw the judge saw the judge .", "The actor saw the judge ."),
            ["le_relative_clause", "le_around_relative_clause"],
        ),
        (("The actor and the judge saw the judge .", "The actor saw the judge ."), 2),
        # No words of HANS's, no template of HANS's, and a hypothesis with another word.
        (("The poet saw the judge .", "The judge saw the poet ."), 0),
        (("The actor saw the judge .", "The actor saw the judge ."), 0),
        (("The actor saw the judge .", "The judge saw the banker ."), 0),
    ],
)
def test_what_is_not_certain_is_left_out(pair, fits) -> None:
    found = fitting(*pair)
    assert len(found) == fits if isinstance(fits, int) else found == fits
    columns = {"premise": [pair[0]], "hypothesis": [pair[1]]}
    assert recovered({**columns, "heuristic": ["lexical_overlap"], "label": [0]}) == [""]


def test_a_row_that_says_otherwise_is_left_out() -> None:
    premise, hypothesis = PLANTED["cn_disjunction"]
    columns = {"premise": [premise] * 4, "hypothesis": [hypothesis] * 4, "label": [1, 0, 1, 1]}
    columns["heuristic"] = ["constituent", "constituent", "subsequence", "none of HANS's"]
    assert recovered(columns) == ["cn_disjunction", "", "", ""]


@pytest.mark.real
def test_the_real_file() -> None:
    """By words alone, every pair is of one subcase, and heuristic and label are that one's."""
    root = Path(os.environ.get("BASINS_DATA", ""))
    if not os.environ.get("BASINS_DATA") or not (root / "text" / "hans").is_dir():
        pytest.skip("BASINS_DATA names no folder with text/hans/")
    hans = mnli.load(source="files", root=root, seed=0, train=10, test=10).splits["hans"]
    found = [fitting(*pair) for pair in zip(hans["premise"], hans["hypothesis"], strict=True)]
    assert Counter(map(len, found)) == {1: 30_000}
    assert Counter(names[0] for names in found) == dict.fromkeys(nli.SUBCASES, 1000)
    kinds = map(kind, hans["heuristic"], hans["label"])
    assert all(names[0][:2] == letters for names, letters in zip(found, kinds, strict=True))
