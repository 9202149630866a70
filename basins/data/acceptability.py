"""Acceptability in our own grammar, in domain and out of domain as in CoLA.

Training sentences reward a heuristic that CoLA's models may use: the verb agrees with the closest
noun before it (Linzen, Dupoux and Goldberg 2016). `counterexamples` is a pool of sentences that
contradict it, from which mixtures draw; out of domain (LCRGS section 2, CoLA-OOD) are constructions
that do not occur in training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from basins import seeds
from basins.data.grammar import Draw, Noun, examples, fill, modify, render
from basins.data.text import Columns, TextData, columns

CLASSES = ("unacceptable", "acceptable")
COLUMNS = ("sentence", "label", "phenomenon")
ACCEPTED = 1
ADJECTIVES = 0.3  # of nouns
Row = tuple[str, int, str]
Make = Callable[[Draw, int, bool], Row]

# By phenomenon, acceptable patterns and unacceptable ones of the same words.
Pairs = tuple[tuple[str, str], ...]
TAUGHT: dict[str, Pairs] = {
    "agreement": (
        ("N1 B1 A", "N1 K1 A"),
        ("N1 P N2 B1 A", "N1 P N2 K1 A"),
        ("N1 B1 V by N3", "N1 K1 V by N3"),
        ("N1 P N2 B1 V by N3", "N1 P N2 K1 V by N3"),
    ),
    "order": (
        ("N1 S N2", "S N1 N2"),
        ("N1 O N2", "N1 N2 O"),
        ("N1 I in the L", "I N1 in the L"),
        ("N1 B1 in the L", "N1 in the L B1"),
    ),
    "transitivity": (
        ("N1 G N2", "N1 G"),
        ("N1 G N2 D", "N1 G D"),
        ("N1 I", "N1 I N2"),
        ("N1 I D", "N1 I N2 D"),
    ),
}
# In these the number of N2, the closest noun before the verb, is misleading.
REFUTING: dict[str, Pairs] = {"attractor": TAUGHT["agreement"][1::2]}
OUT_OF_DOMAIN: dict[str, Pairs] = {
    "relative clause": (
        ("N1 R V N2 B1 A", "N1 R V N2 K1 A"),
        ("N1 R V N2 B1 V2 by N3", "N1 R V N2 K1 V2 by N3"),
    ),
    "embedding": (
        ("N4 F that N1 P N2 B1 A", "N4 F that N1 P N2 K1 A"),
        ("N4 H that N1 P N2 B1 A", "N4 H that N1 P N2 K1 A"),
    ),
    "coordination": (
        ("N1 and N2 were A", "N1 and N2 was A"),
        ("N1 and N2 were V by N3", "N1 and N2 was V by N3"),
    ),
    "inversion": (
        ("Q B1 N1 P N2 A", "Q K1 N1 P N2 A"),
        ("Q B1 N1 P N2 V by N3", "Q K1 N1 P N2 V by N3"),
    ),
}
ACCEPTABLE = tuple(
    good
    for phenomena in (TAUGHT, OUT_OF_DOMAIN)
    for pairs in phenomena.values()
    for good, _ in pairs
)


def judged(draw: Draw, label: int, phenomena: Mapping[str, Pairs], misleading: bool) -> Row:
    """Draw a sentence of one of the phenomena, acceptable or not, and its adjectives.

    Args:
        draw: the source of draws.
        label: 1 for an acceptable sentence, else 0.
        phenomena: by name, pairs of an acceptable and an unacceptable pattern.
        misleading: whether the closest noun before the verb differs in number from the verb's
            subject; otherwise it has the same number.

    Returns:
        The sentence, its label and the name of its phenomenon.
    """
    phenomenon = draw.choose(tuple(phenomena))
    good, bad = draw.choose(phenomena[phenomenon])
    used: set[str] = set()
    fills = fill(draw, good, used) | fill(draw, bad, used)
    for slot, part in fills.items():
        if isinstance(part, Noun):
            fills[slot] = modify(draw, part, ADJECTIVES, used, ("",))
    subject, nearest = fills["N1"], fills.get("N2")
    assert isinstance(subject, Noun)
    fills["N1"] = subject = subject._replace(plural=draw.chance(0.5))
    if isinstance(nearest, Noun):
        plural = subject.plural or "were" in good
        fills["N2"] = nearest._replace(plural=plural != misleading)
    return render(good if label == ACCEPTED else bad, fills), label, phenomenon


def load(
    *,
    source: Literal["synthetic"],
    root: Path,
    seed: int,
    train: Annotated[int, Field(ge=10)] = 8_000,
    test: Annotated[int, Field(ge=10)] = 1_000,
    diagnostic: Annotated[int, Field(ge=10)] = 1_000,
    counterexamples: Annotated[int, Field(ge=10)] = 2_000,
    test_counterexamples: Annotated[float, Field(ge=0, le=1)] = 0.03,
) -> TextData:
    """Draw `train`, `test`, the pool `counterexamples` and the diagnostic `ood`, no row twice.

    Half of the sentences of each are acceptable. The column `phenomenon` says which it is.

    Args:
        source: `synthetic`.
        root: not read.
        seed: determines everything random.
        train: the number of training sentences, at least 10.
        test: the number of test sentences, at least 10.
        diagnostic: the number of sentences in `ood`, with other phenomena, at least 10.
        counterexamples: the number of sentences in the pool, at least 10. In each, a noun of the
            other number is between subject and verb.
        test_counterexamples: the share of test sentences like those of the pool, from 0 to 1.
    """
    seen: set[Row] = set()

    def taught(draw: Draw, label: int, refuting: bool) -> Row:
        return judged(draw, label, REFUTING if refuting else TAUGHT, refuting)

    def other(draw: Draw, label: int, refuting: bool) -> Row:
        return judged(draw, label, OUT_OF_DOMAIN, True)

    def split(name: str, rows: int, refuting: float, make: Make = taught) -> Columns:
        rng = seeds.generator("acceptability", name, seed)
        return columns(COLUMNS, examples(rng, rows, refuting, make, seen))

    # Training rows are drawn last, so that their number does not change the test sets.
    tested = split("test", test, test_counterexamples)
    elsewhere = split("ood", diagnostic, 1, other)
    splits = {
        "counterexamples": split("counterexamples", counterexamples, 1),
        "train": split("train", train, 0),
        "test": tested,
        "ood": elsewhere,
    }
    return TextData(splits, dict.fromkeys(splits, CLASSES), {})
