"""Acceptability: the nearest noun tells the verb's number in training, and misleads elsewhere."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from basins.data import acceptability, text
from basins.data.grammar import WORDS

SIZES = {"train": 2000, "test": 500, "diagnostic": 500, "counterexamples": 300}
PLURALS = {f"{noun}s" for noun in WORDS["N"]}


@pytest.fixture(scope="module")
def data():
    found = acceptability.load(source="synthetic", root=Path(), seed=0, **SIZES)
    text.check(found, "acceptability")
    return found


def rows(columns) -> list[tuple[list[str], int, str]]:
    return [(s.lower().split(), *rest) for s, *rest in zip(*columns.values(), strict=True)]


def nearest_noun(words: list[str]) -> int:
    """Judge by the noun before the last was or were, or the one after it where there is none."""
    place = max(i for i, word in enumerate(words) if word in ("was", "were"))
    nouns = [word for word in words[:place] if word in PLURALS or word in WORDS["N"]]
    after = [word for word in words[place:] if word in PLURALS or word in WORDS["N"]]
    plural = nouns[-1] in PLURALS if nouns else after[0] in PLURALS
    return int(plural == (words[place] == "were"))


def accuracy(rows) -> dict[str, float]:
    right = defaultdict(list)
    for words, label, phenomenon in rows:
        right[phenomenon].append(nearest_noun(words) == label)
    return {phenomenon: sum(found) / len(found) for phenomenon, found in right.items()}


def test_the_nearest_noun_suffices_in_training_alone(data) -> None:
    train = [row for row in rows(data.splits["train"]) if row[2] == "agreement"]
    assert accuracy(train) == {"agreement": 1}
    assert accuracy(rows(data.splits["counterexamples"])) == {"attractor": 0}
    ood = accuracy(rows(data.splits["ood"]))
    assert ood == {"relative clause": 0, "embedding": 0, "coordination": 0, "inversion": 1}


def test_splits_and_their_phenomena(data) -> None:
    found = {name: rows(columns) for name, columns in data.splits.items()}
    assert {name: len(split) for name, split in found.items()} == {
        "counterexamples": 300,
        "train": 2000,
        "test": 500,
        "ood": 500,
    }
    for split in found.values():
        assert sum(label for _, label, _ in split) == len(split) / 2
    counted = Counter(phenomenon for *_, phenomenon in found["test"])
    assert counted["attractor"] == 15 and len(counted) == 4
    assert set(counted) - {"attractor"} == {phenomenon for *_, phenomenon in found["train"]}


def test_no_sentence_is_in_two_splits(data) -> None:
    sentences = Counter(s for columns in data.splits.values() for s in columns["sentence"])
    assert set(sentences.values()) == {1}


def test_order_and_transitivity_are_broken_as_they_say(data) -> None:
    intransitive, strict, verbs = set(WORDS["I"]), set(WORDS["G"]), {*WORDS["V"], *WORDS["I"]}
    nouns = PLURALS | set(WORDS["N"])
    for words, label, phenomenon in rows(data.splits["train"]):
        if phenomenon == "transitivity":
            objects = sum(word in nouns for word in words) - 1
            verb = next(word for word in words if word in verbs)
            assert verb in intransitive | strict
            assert label == (objects == (verb in strict)), words
        if phenomenon == "order" and label:
            assert words[0] == "the" and [w in nouns for w in words].index(True) in (1, 2)


def test_more_training_rows_change_no_test(data) -> None:
    sizes = SIZES | {"train": 10}
    other = acceptability.load(source="synthetic", root=Path(), seed=0, **sizes)
    assert all(other.splits[name] == data.splits[name] for name in ("test", "ood"))
    seed = acceptability.load(source="synthetic", root=Path(), seed=1, **sizes)
    assert seed.splits["test"] != other.splits["test"]
