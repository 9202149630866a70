"""Paraphrase in our own grammar, with a diagnostic set constructed like PAWS.

Training pairs reward the heuristic that PAWS tests (LCRGS section 2; Zhang, Baldridge and He 2019):
questions with the same words are duplicates. `counterexamples` is a pool of pairs that contradict
it, from which mixtures draw.
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
# Questions, and other orders of their words with the same meaning.
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
MODIFIERS = 0.15  # share of nouns with an adjective, and of those with a phrase
COLUMNS = ("question1", "question2", "label", "kind")
Row = tuple[str, str, int, str]


def question(draw: Draw) -> Sentence:
    """Draw a question; a noun has an adjective, or a phrase, with probability `MODIFIERS` each.

    Its nouns have the same number, so that exchanging them does not change other words.
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
    """Return the same question with another order of words."""
    return asked._replace(pattern=draw.choose(QUESTIONS[asked.pattern]))


def exchanges(asked: Sentence) -> dict[str, Sentence]:
    """Return, by kind, the questions with another meaning made by exchanging words of this one."""
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
    """Draw a question and a duplicate, half of the time with another order of words."""
    if draw.chance(0.5):
        return moved(draw)
    asked = str(question(draw))
    return asked, asked, DUPLICATE, "same"


def moved(draw: Draw) -> Row:
    """Draw a question and a duplicate with another order of words."""
    asked = question(draw)
    return str(asked), str(reordered(draw, asked)), DUPLICATE, "reordered"


def changed(draw: Draw) -> Row:
    """Draw a question and one with another content word, half of the time in another order."""
    asked = question(draw)
    other = reordered(draw, asked) if draw.chance(0.5) else asked
    fills = asked.fills | change(draw, asked.fills, content(asked))
    return str(asked), str(other._replace(fills=fills)), DIFFERENT, "changed"


def exchanged(draw: Draw) -> Row:
    """Draw a counterexample: two words or phrases of a question are exchanged."""
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

    Half of the pairs other than counterexamples are duplicates; counterexamples are not. The column
    `kind` says how a pair was made.

    Args:
        source: `synthetic`.
        root: not read.
        seed: determines everything random.
        train: the number of training pairs, at least 10.
        test: the number of test pairs, at least 10.
        diagnostic: the number of pairs in `paws`, each with the same words, at least 10; as in
            PAWS-QQP, 28 % of them are duplicates.
        counterexamples: the number of pairs in the pool, at least 1. Each exchanges two words or
            phrases.
        test_counterexamples: the share of test pairs like those of the pool, from 0 to 1.
    """
    seen: set[Row] = set()

    def drawn(draw: Draw, label: int, refuting: bool) -> Row:
        return (exchanged if refuting else duplicate if label == DUPLICATE else changed)(draw)

    def split(name: str, rows: int, refuting: float) -> Columns:
        rng = seeds.generator("paraphrase", name, seed)
        return columns(COLUMNS, examples(rng, rows, refuting, drawn, seen))

    # Training rows are drawn last, so that their number does not change the test sets.
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
