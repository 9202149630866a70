"""The grammar: sentences by hand, and what must hold for every one it draws."""

from __future__ import annotations

import numpy as np
import pytest

from basins.data.grammar import (
    ACTIVE,
    AFTER,
    PASSIVE,
    WORDS,
    Draw,
    Noun,
    Sentence,
    change,
    clause,
    content,
    examples,
    fill,
    modify,
    reduce,
    render,
    unseen,
    vocabulary,
)

COOK = Noun("cook", True, "old", ("near", Noun("monk")))
POET = Noun("poet", False, "", ("who", Noun("nurse", True), "hired"))
FILLS = {"N1": COOK, "N2": POET, "V": "praised", "Z": "", "D": "in the market"}


def drawing(seed: int = 0) -> Draw:
    return Draw(np.random.default_rng(seed))


def clauses(n: int = 2000, share: float = 0.3) -> list[Sentence]:
    draw = drawing()
    return [clause(draw, share) for _ in range(n)]


@pytest.mark.parametrize(
    ("pattern", "fills", "expected"),
    [
        (ACTIVE, {}, "The old cooks near the monk praised the poet who the nurses hired in the L"),
        (
            PASSIVE,
            {"D": "", "Z": "never"},
            "The P was never praised by the old cooks near the monk",
        ),
        ("N1 B1 A", {"A": "tall"}, "The old cooks near the monk were tall"),
        ("N1 K1 A", {"A": "tall"}, "The old cooks near the monk was tall"),
        (
            "A X1 I",
            {"A": "tall", "X1": Noun("cook", True, article=""), "I": "wept"},
            "Tall cooks wept",
        ),
    ],
)
def test_sentences_by_hand(pattern, fills, expected) -> None:
    poet = "poet who the nurses hired"
    expected = expected.replace("in the L", "in the market").replace("P was", f"{poet} was")
    assert render(pattern, FILLS | fills) == expected


def test_a_reduced_sentence_has_no_modifiers() -> None:
    bare = reduce(drawing(), Sentence(ACTIVE, FILLS), keep=0, voice=0)
    assert str(bare) == "The cooks praised the poet"
    turned = reduce(drawing(), Sentence(ACTIVE, FILLS), keep=0, voice=1)
    assert str(turned) == "The poet was praised by the cooks"
    assert str(reduce(drawing(), turned, voice=1)) == "The cooks praised the poet"
    assert reduce(drawing(), Sentence(ACTIVE, FILLS), keep=1, voice=0) == (ACTIVE, FILLS)


def test_content_is_every_lemma() -> None:
    expected = {"cook", "old", "near", "monk", "poet", "who", "nurse", "hired", "praised"}
    assert content(Sentence(ACTIVE, FILLS)) - {""} == expected | {"in", "the", "market"}


def test_no_content_word_occurs_twice() -> None:
    singular = {f"{noun}s": noun for noun in WORDS["N"]}
    counted = set(vocabulary()) - {"the", "who", "that", "near", "in", "was", "were", "by"}
    counted -= set(WORDS["P"])
    for sentence in clauses():
        words = [singular.get(word, word) for word in str(sentence).lower().split()]
        words = [word for word in words if word in counted]
        assert len(words) == len(set(words)), sentence


def test_clauses_are_drawn_as_they_say() -> None:
    drawn = clauses(4000)
    by_pattern = {p: [s for s in drawn if s.pattern == p] for p in {s.pattern for s in drawn}}
    shares = {pattern: len(found) / len(drawn) for pattern, found in by_pattern.items()}
    assert shares[PASSIVE] == pytest.approx(0.8 * 0.15, abs=0.02)
    assert shares[ACTIVE] == pytest.approx(0.8 * 0.85, abs=0.03)
    nouns = [s.fills["N1"] for s in drawn]
    assert np.mean([bool(noun.adjective) for noun in nouns]) == pytest.approx(0.3, abs=0.03)
    assert np.mean([bool(noun.after) for noun in nouns]) == pytest.approx(0.3, abs=0.03)
    assert np.mean([noun.plural for noun in nouns]) == pytest.approx(0.3, abs=0.03)
    assert np.mean([s.fills["Z"] == "never" for s in drawn]) == pytest.approx(0.05, abs=0.015)
    assert not any(s.fills["Z"] and s.fills["D"] for s in drawn)
    first = [str(s) for s in drawn[:5]]
    assert first == [str(s) for s in clauses(5)]


def test_what_a_change_changes() -> None:
    draw = drawing()
    for sentence in clauses(500):
        used = content(sentence)
        (changed,) = change(draw, sentence.fills, set(used)).items()
        new = content(Sentence(sentence.pattern, sentence.fills | dict([changed])))
        (word,) = new - used
        old = used - new
        kinds = [kind for kind, words in WORDS.items() if word in words]
        assert any(old <= set(WORDS[kind]) for kind in kinds)
        assert word in vocabulary()


def test_slots_are_filled_with_their_kind() -> None:
    draw = drawing()
    for kind, words in WORDS.items():
        found = [fill(draw, f"{kind} in {kind}2 by", set()) for _ in range(200)]
        drawn = [
            part.lemma if isinstance(part, Noun) else part for f in found for part in f.values()
        ]
        assert set(drawn) == set(words)
        assert all(f.keys() == {kind, f"{kind}2"} and f[kind] != f[f"{kind}2"] for f in found)
    articles = {(noun.plural, noun.article) for noun in fill(draw, "X1 X2 X3").values()}
    assert articles == {(True, "")}


def test_modifiers_follow_the_noun() -> None:
    draw = drawing()
    noun = modify(draw, Noun("cook"), 1, {"cook", "old"}, ("P N",))
    assert noun.adjective in set(WORDS["A"]) - {"old"}
    assert noun.after[0] in WORDS["P"] and noun.after[1].lemma in set(WORDS["N"]) - {"cook"}
    assert modify(draw, Noun("cook"), 0, set(), AFTER) == Noun("cook")


def test_the_vocabulary_is_small_and_each_word_has_one_use() -> None:
    words = vocabulary()
    assert len(words) == len(set(words)) == 108 and words == sorted(words)
    assert all(word == word.lower() and " " not in word for word in words)
    overlapping = {"N": "X", "V": "SOG", "S": "V", "O": "V", "G": "V", "X": "N"}
    for a, these in WORDS.items():
        for b, those in WORDS.items():
            if a != b and b not in overlapping.get(a, ""):
                assert not set(these) & set(those), (a, b)
        assert len(these) == len(set(these))


def test_examples_are_balanced_and_never_seen_before() -> None:
    def make(draw: Draw, label: int, refuting: bool) -> tuple[int, bool, int]:
        return label, refuting, int(draw.choose(range(40)))

    seen: set = {(0, True, 3)}
    rows = examples(np.random.default_rng(0), 60, 0.25, make, seen)
    assert len(set(rows)) == 60 and seen == {*rows, (0, True, 3)}
    assert (0, True, 3) not in rows
    assert sum(label for label, *_ in rows) == 30 and sum(refuting for _, refuting, _ in rows) == 15
    assert sum(label and refuting for label, refuting, _ in rows) not in (0, 15)


def test_unseen_tries_again() -> None:
    answers = iter([1, 1, 2])
    seen = {1}
    assert unseen(seen, lambda: next(answers)) == 2 and seen == {1, 2}
