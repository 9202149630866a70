"""Paraphrase: the same words are duplicates in training, and are not in the diagnostic."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from basins.data import paraphrase, text
from basins.data.grammar import Noun, Sentence

SIZES = {"train": 2000, "test": 1000, "diagnostic": 500, "counterexamples": 400}
ASKED = Sentence(
    "Q B1 N1 V by N2 D",
    {
        "Q": "why",
        "N1": Noun("cook", False, "old", ("near", Noun("monk"))),
        "V": "praised",
        "N2": Noun("poet"),
        "D": "quietly",
    },
)


@pytest.fixture(scope="module")
def data():
    found = paraphrase.load(source="synthetic", root=Path(), seed=0, **SIZES)
    text.check(found, "paraphrase")
    return found


def rows(columns) -> list[tuple[str, str, int, str]]:
    return list(zip(*columns.values(), strict=True))


def same_words(first: str, second: str) -> bool:
    return Counter(first.lower().split()) == Counter(second.lower().split())


def test_exchanges_by_hand() -> None:
    assert str(ASKED) == "Why was the old cook near the monk praised by the poet quietly"
    assert {kind: str(other) for kind, other in paraphrase.exchanges(ASKED).items()} == {
        "nouns": "Why was the poet praised by the old cook near the monk quietly",
        "adjectives": "Why was the cook near the monk praised by the old poet quietly",
        "phrase": "Why was the old monk near the cook praised by the poet quietly",
    }
    alone = ASKED._replace(fills=ASKED.fills | {"N1": Noun("cook"), "N2": Noun("poet")})
    assert list(paraphrase.exchanges(alone)) == ["nouns"]
    place = {**alone.fills, "A": "old", "L": "market"}
    del place["N2"]
    assert paraphrase.exchanges(Sentence("Q B1 N1 A in the L", place)) == {}


def test_all_orders_have_the_same_slots() -> None:
    for pattern, orders in paraphrase.QUESTIONS.items():
        assert all(sorted(order.split()) == sorted(pattern.split()) for order in orders)
        assert pattern not in orders and len(orders) > 1


def test_in_training_the_same_words_are_duplicates(data) -> None:
    train = rows(data.splits["train"])
    assert all(same_words(a, b) == label for a, b, label, _ in train)
    assert Counter(label for _, _, label, _ in train) == {0: 1000, 1: 1000}
    kinds = Counter(kind for *_, kind in train)
    assert set(kinds) == {"same", "reordered", "changed"}
    assert kinds["reordered"] == pytest.approx(500, abs=80)
    assert all((a == b) == (kind == "same") for a, b, _, kind in train)


def test_all_pairs_of_the_diagnostic_have_the_same_words(data) -> None:
    paws = rows(data.splits["paws"])
    assert all(same_words(a, b) and a != b for a, b, _, _ in paws)
    assert Counter(label for _, _, label, _ in paws) == {0: 360, 1: 140}  # 28 %
    assert all((kind == "reordered") == label for _, _, label, kind in paws)
    assert {kind for *_, kind in paws} == {"reordered", "nouns", "adjectives", "phrase"}
    assert 0.15 < sum(label for _, _, label, _ in paws[:100]) / 100 < 0.41  # shuffled


def test_the_pool_and_its_share_of_test_refute_the_heuristic(data) -> None:
    pool, test = rows(data.splits["counterexamples"]), rows(data.splits["test"])
    assert all(same_words(a, b) and label == 0 for a, b, label, _ in pool)
    assert sum(same_words(a, b) and not label for a, b, label, _ in test) == 30


def test_no_pair_is_in_two_splits(data) -> None:
    pairs = Counter(row[:2] for columns in data.splits.values() for row in rows(columns))
    assert set(pairs.values()) == {1}


def test_more_training_rows_change_no_test(data) -> None:
    sizes = SIZES | {"train": 10}
    other = paraphrase.load(source="synthetic", root=Path(), seed=0, **sizes)
    assert all(other.splits[name] == data.splits[name] for name in ("test", "paws"))
    seed = paraphrase.load(source="synthetic", root=Path(), seed=1, **sizes)
    assert seed.splits["test"] != other.splits["test"]
