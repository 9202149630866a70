"""The pretraining corpus: the whole grammar, and restatements that say nothing new."""

from __future__ import annotations

from pathlib import Path

import pytest

from basins.data import acceptability, nli, paraphrase, restated, text
from basins.data.grammar import vocabulary


def load(**options):
    return restated.load(source="synthetic", root=Path(), seed=0, **{"train": 6000, **options})


@pytest.fixture(scope="module")
def pairs() -> list[tuple[list[str], list[str]]]:
    data = load()
    text.check(data, "restated")
    rows = data.splits["train"]
    assert list(rows) == ["sentence1", "sentence2"]
    split = zip(rows["sentence1"], rows["sentence2"], strict=True)
    return [(a.lower().split(), b.lower().split()) for a, b in split]


def test_every_word_of_every_task_occurs_in_both_sentences(pairs) -> None:
    for side in zip(*pairs, strict=True):
        assert {word for words in side for word in words} == set(vocabulary())


def test_every_pattern_of_every_task_is_known() -> None:
    known = set(restated.patterns())
    templates = [t for several in nli.templates().values() for t in several]
    assert {pattern for t in templates for pair in t.pairs for pattern in pair} <= known
    assert set(paraphrase.PATTERNS) | set(acceptability.ACCEPTABLE) <= known
    assert all(" K1" not in pattern and "C1" not in pattern for pattern in known)


def test_restatements_add_nothing(pairs) -> None:
    turned = 0
    for first, second in pairs:
        new = set(second) - set(first)
        assert new <= {"was", "were", "by"}, (first, second)
        rest = iter(first)
        turned += not all(word in rest for word in second)
    assert 0.02 < turned / len(pairs) < 0.1  # in the other voice


def test_restatements_are_shorter_and_pairs_fit(pairs) -> None:
    lengths = [(len(first), len(second)) for first, second in pairs]
    assert sum(b < a for a, b in lengths) > 0.4 * len(pairs)
    assert max(a + b + 3 for a, b in lengths) <= 48


def test_simple_clauses_alone() -> None:
    words = (
        " ".join(load(train=500, constructions=0.0).splits["train"]["sentence1"]).lower().split()
    )
    assert not {"if", "or", "claimed", "perhaps", "why"} & set(words)


def test_the_seed_decides() -> None:
    assert load(train=50) == load(train=50)
    assert load(train=50) != restated.load(source="synthetic", root=Path(), seed=1, train=50)
