"""Paraphrase in our own grammar, with a diagnostic set made as PAWS is.

Training pairs reward the heuristic that PAWS tests (LCRGS section 2; Zhang, Baldridge and He 2019):
questions of the same words are duplicates. `counterexamples` is a pool of pairs that refute it, of
which a mixture takes as many as it wants.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from basins import seeds
from basins.data.grammar import (
    Draw,
    Noun,
    Sentence,
    change,
    content,
    examples,
    fill,
    manner,
    modify,
    unseen,
)
from basins.data.text import Columns, TextData, columns

CLASSES = ("not duplicate", "duplicate")
# Questions, and the other orders of their words in which they ask the same.
QUESTIONS = {
    "Q B1 N1 V by N2 D": ("D Q B1 N1 V by N2", "Q B1 N1 V D by N2"),
    "Q B1 N1 A in the L": ("in the L Q B1 N1 A", "Q B1 N1 in the L A"),
    "Q were N1 and N3 V by N2 D": (
        "Q were N3 and N1 V by N2 D",
        "D Q were N1 and N3 V by N2",
        "D Q were N3 and N1 V by N2",
    ),
}
PATTERNS = tuple(chain(QUESTIONS, *QUESTIONS.values()))
POSITIVE = 0.28  # of PAWS-QQP's test pairs are duplicates (LCRGS section 2)

DIFFERENT, DUPLICATE = range(2)
MODIFIERS = 0.15  # of nouns that have an adjective, and of those that have a phrase
COLUMNS = ("question1", "question2", "label", "kind")
Row = tuple[str, str, int, str]


def question(draw: Draw) -> Sentence:
    """Draw a question; each noun has an adjective, and a phrase, at the share `MODIFIERS` each.

    Its nouns have one number, so that exchanging them changes no other word.
    """
    used: set[str] = set()
    pattern = draw.choose(tuple(QUESTIONS))
    fills = fill(draw, pattern, used)
    plural = draw.chance(0.5)
    for slot, part in fills.items():
        if isinstance(part, Noun):
            fills[slot] = _numbered(modify(draw, part, MODIFIERS, used, ("P N",)), plural)
    if "D" in fills:
        fills["D"] = manner(draw, used)
    return Sentence(pattern, fills)


def _numbered(noun: Noun, plural: bool) -> Noun:
    after = (_numbered(part, plural) if isinstance(part, Noun) else part for part in noun.after)
    return noun._replace(plural=plural, after=tuple(after))


def reordered(draw: Draw, asked: Sentence) -> Sentence:
    """Return the same question, its words in another order."""
    return asked._replace(pattern=draw.choose(QUESTIONS[asked.pattern]))


def exchanges(asked: Sentence) -> dict[str, Sentence]:
    """Return the other questions, by kind, that exchanging words of this one makes."""
    found, first, second = {}, asked.fills["N1"], asked.fills.get("N2")
    assert isinstance(first, Noun)
    if isinstance(second, Noun):
        found["nouns"] = {"N1": second, "N2": first}
        if first.adjective != second.adjective:
            found["adjectives"] = {
                "N1": first._replace(adjective=second.adjective),
                "N2": second._replace(adjective=first.adjective),
            }
    if first.after and isinstance(inner := first.after[1], Noun):
        outer = first._replace(lemma=inner.lemma, after=())
        inner = inner._replace(lemma=first.lemma)
        found["phrase"] = {"N1": outer._replace(after=(first.after[0], inner))}
    return {kind: asked._replace(fills=asked.fills | new) for kind, new in found.items()}


def duplicate(draw: Draw) -> Row:
    """Draw a question, and half of the time another order of its words that asks the same."""
    if draw.chance(0.5):
        return moved(draw)
    asked = str(question(draw))
    return asked, asked, DUPLICATE, "same"


def moved(draw: Draw) -> Row:
    """Draw a question and another order of its words that asks the same."""
    asked = question(draw)
    return str(asked), str(reordered(draw, asked)), DUPLICATE, "reordered"


def changed(draw: Draw) -> Row:
    """Draw a question, half of the time in another order, with one content word changed."""
    asked = question(draw)
    other = reordered(draw, asked) if draw.chance(0.5) else asked
    fills = asked.fills | change(draw, asked.fills, content(asked))
    return str(asked), str(other._replace(fills=fills)), DIFFERENT, "changed"


def exchanged(draw: Draw) -> Row:
    """Draw a counterexample: two words or phrases of a question change places."""
    while not (found := exchanges(asked := question(draw))):
        pass
    kind = draw.choose(tuple(found))
    return str(asked), str(found[kind]), DIFFERENT, kind


def load(
    *,
    source: Literal["synthetic"],
    root: Path,
    seed: int,
    train: Annotated[int, Field(ge=10)] = 10_000,
    test: Annotated[int, Field(ge=10)] = 2_000,
    diagnostic: Annotated[int, Field(ge=10)] = 1_000,
    counterexamples: Annotated[int, Field(ge=1)] = 2_000,
    test_counterexamples: Annotated[float, Field(ge=0, le=1)] = 0.03,
) -> TextData:
    """Draw `train`, `test`, the pool `counterexamples` and the diagnostic `paws`, no row twice.

    Half of the pairs that are no counterexamples are duplicates; counterexamples are not. The
    column `kind` says how a pair was made.

    Args:
        source: `synthetic`.
        root: not read.
        seed: decides everything random.
        train: how many training pairs, at least 10.
        test: how many test pairs, at least 10.
        diagnostic: how many pairs of the same words `paws` has, at least 10; as in PAWS-QQP 28 % of
            them are duplicates.
        counterexamples: how many pairs the pool has, at least 1. Each exchanges two words or
            phrases.
        test_counterexamples: the share of test pairs that are like those of the pool, from 0 to 1.
    """
    seen: set[Row] = set()

    def drawn(draw: Draw, label: int, refuting: bool) -> Row:
        return (exchanged if refuting else duplicate if label == DUPLICATE else changed)(draw)

    def split(name: str, rows: int, refuting: float) -> Columns:
        rng = seeds.generator("paraphrase", name, seed)
        return columns(COLUMNS, examples(rng, rows, refuting, drawn, seen))

    # Training rows come last, so that their number does not change what models are tested on.
    tested = split("test", test, test_counterexamples)
    paws = seeds.generator("paraphrase", "paws", seed)
    positive = paws.permutation(diagnostic) < round(POSITIVE * diagnostic)
    draw = Draw(paws)
    pairs = [unseen(seen, moved if same else exchanged, draw) for same in positive]
    splits = {
        "counterexamples": split("counterexamples", counterexamples, 1),
        "train": split("train", train, 0),
        "test": tested,
        "paws": columns(COLUMNS, pairs),
    }
    return TextData(splits, dict.fromkeys(splits, CLASSES), {})
