"""Natural language inference in our own grammar, with a diagnostic set constructed like HANS.

Training pairs reward the heuristic that HANS tests (LCRGS section 2; McCoy, Pavlick and Linzen
2019): a hypothesis whose words all occur in the premise is entailed. `counterexamples` is a pool of
pairs that contradict it, from which mixtures draw.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count, product, repeat
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from basins import seeds
from basins.data.grammar import (
    PASSIVE,
    WORDS,
    Draw,
    Noun,
    change,
    clause,
    content,
    examples,
    fill,
    reduce,
    render,
    unseen,
)
from basins.data.text import Columns, TextData, columns, pick

CLASSES = ("entailment", "non-entailment")

# Clauses that replace C1 and C2 in the patterns below.
CLAUSES = {"C1": ("N1 V1 N2", "N1 I1"), "C2": ("N3 V2 N4", "N3 I2")}
# Premise and hypothesis of every template of the 30 subcases; HANS's names, and its two letters:
# l, s, c for the heuristic (lexical overlap, subsequence, constituent), e for entailed, n for not.
# The first template of ln_preposition is a subsequence of its premise, where HANS would count it.
# Counterexamples other than swaps have its form, so HANS-LO has to include it.
SUBCASES = {
    "le_relative_clause": (
        ("N1 R N2 V1 V2 N3", "N2 V1 N1"),
        ("N1 R N2 V1 I", "N2 V1 N1"),
        ("N3 V2 N1 R N2 V1", "N2 V1 N1"),
        ("N1 R V1 N2 V2 N3", "N1 V1 N2"),
    ),
    "le_around_prepositional_phrase": (
        ("N1 P N2 V N3", "N1 V N3"),
        ("N1 P N2 I", "N1 I"),
    ),
    "le_around_relative_clause": (
        ("N1 R I V N2", "N1 V N2"),
        ("N1 R V1 N2 V2 N3", "N1 V2 N3"),
        ("N1 R N2 V1 V2 N3", "N1 V2 N3"),
    ),
    "le_conjunction": (
        ("N1 V N2 and N3", "N1 V N3"),
        ("N1 and N2 V N3", "N1 V N3"),
    ),
    "le_passive": (
        ("N1 B1 V by N2", "N2 V N1"),
        ("N1 B1 V by N2 P N3", "N2 V N1"),
    ),
    "ln_subject/object_swap": (("N1 V N2", "N2 V N1"),),
    "ln_preposition": (
        ("N1 P N2 V N3", "N2 V N3"),
        ("N1 P N2 V N3", "N3 V N1"),
        ("N1 P N2 V N3", "N3 V N2"),
        ("N1 V N2 P N3", "N2 V N1"),
        ("N1 V N2 P N3", "N3 V N1"),
        ("N1 V N2 P N3", "N1 V N3"),
    ),
    "ln_relative_clause": (
        ("N1 V1 N2 R V2 N3", "N2 V1 N1"),
        ("N1 V1 N2 R V2 N3", "N3 V2 N2"),
        ("N1 V1 N2 R N3 V2", "N2 V2 N3"),
        ("N1 R V1 N2 V2 N3", "N3 V2 N1"),
        ("N1 R V1 N2 V2 N3", "N2 V1 N1"),
        ("N1 R N2 V1 V2 N3", "N1 V1 N2"),
        ("N1 R N2 V1 V2 N3", "N3 V2 N2"),
    ),
    "ln_passive": (
        ("N1 B1 V by N2", "N1 V N2"),
        ("N1 V N2 R B2 V2 by N3", "N2 V2 N3"),
    ),
    "ln_conjunction": (
        ("N1 V N2 and N3", "N2 V N3"),
        ("N1 V N2 and N3", "N3 V N1"),
        ("N1 and N2 V N3", "N1 V N2"),
        ("N1 and N2 V N3", "N3 V N2"),
    ),
    "se_conjunction": (
        ("N1 and N2 I", "N2 I"),
        ("N1 and N2 V N3", "N2 V N3"),
        ("N1 V N2 and N3", "N1 V N2"),
    ),
    "se_adjective": (
        ("A X1 V N2", "X1 V N2"),
        ("A X1 I", "X1 I"),
    ),
    "se_understood_object": (("N1 O N2", "N1 O"),),
    "se_relative_clause_on_obj": (
        ("N1 V1 N2 R V2 N3", "N1 V1 N2"),
        ("N1 V1 N2 R N3 V2", "N1 V1 N2"),
        ("N1 V1 N2 R I", "N1 V1 N2"),
    ),
    "se_PP_on_obj": (("N1 V N2 P N3", "N1 V N2"),),
    "sn_NP/S": (
        ("N1 S N2 V N3", "N1 S N2"),
        ("N1 S N2 I", "N1 S N2"),
    ),
    "sn_PP_on_subject": (("N1 P N2 I", "N2 I"),),
    "sn_relative_clause_on_subject": (
        ("N1 R V1 N2 V2 N3", "N2 V2 N3"),
        ("N1 R V1 N2 I", "N2 I"),
    ),
    "sn_past_participle": (
        ("N1 O in the L I", "N1 O in the L"),
        ("N1 O in the L V N2", "N1 O in the L"),
    ),
    "sn_NP/Z": (
        ("T N1 O N2 I", "N1 O N2"),
        ("T N1 O N2 V N3", "N1 O N2"),
    ),
    "ce_embedded_under_since": (("C C1 , C2", "C1"),),
    "ce_after_since_clause": (("C C1 , C2", "C2"),),
    "ce_embedded_under_verb": (("N5 F that C1", "C1"),),
    "ce_conjunction": (
        ("C1 , and C2", "C1"),
        ("C1 , and C2", "C2"),
    ),
    "ce_adverb": (("Y C1", "C1"),),
    "cn_embedded_under_if": (("U C1 , C2", "C1"),),
    "cn_after_if_clause": (("U C1 , C2", "C2"),),
    "cn_embedded_under_verb": (("N5 H that C1", "C1"),),
    "cn_disjunction": (
        ("C1 , or C2", "C1"),
        ("C1 , or C2", "C2"),
    ),
    "cn_adverb": (("M C1", "C1"),),
}
HEURISTICS = {"l": "lexical_overlap", "s": "subsequence", "c": "constituent"}
ENTAILED, NOT_ENTAILED = range(2)

Pair = tuple[str, str]
Row = tuple[str, str, int]
COLUMNS = ("premise", "hypothesis", "label")
MODIFIERS = 0.3  # the probability of each possible modifier of a premise
NEGATIONS = 0.2  # share of pairs that are not entailed due to "never" instead of another word


class Template(NamedTuple):
    """A template of the diagnostic set; `pairs` are its patterns of premise and hypothesis."""

    heuristic: str
    subcase: str
    name: str
    label: int
    pairs: tuple[Pair, ...]


def templates() -> dict[str, tuple[Template, ...]]:
    """Return the templates of each subcase, numbered consecutively as in HANS."""
    number = (f"temp{n}" for n in count(1))
    return {
        subcase: tuple(
            Template(
                HEURISTICS[subcase[0]],
                subcase,
                next(number),
                ENTAILED if subcase[1] == "e" else NOT_ENTAILED,
                tuple(_with_clauses(*pair)),
            )
            for pair in pairs
        )
        for subcase, pairs in SUBCASES.items()
    }


def _with_clauses(premise: str, hypothesis: str) -> Iterable[Pair]:
    """Return a pair of patterns with each choice of clauses for C1 and C2."""
    open_slots = [slot for slot in CLAUSES if slot in premise.split()]
    for chosen in product(*(CLAUSES[slot] for slot in open_slots)):
        pair = premise, hypothesis
        for slot, words in zip(open_slots, chosen, strict=True):
            pair = pair[0].replace(slot, words), pair[1].replace(slot, words)
        yield pair


def hans(draw: Draw, rows: int, seen: set[Row]) -> Columns:
    """Return a set like HANS: `rows` distinct pairs of each subcase, ordered by subcase.

    Columns are HANS's: premise, hypothesis, label, heuristic, subcase, template. No noun or verb
    occurs twice in a premise. No row is in `seen`, to which rows are added.
    """
    made = []
    for subcases in repeat(templates().values(), rows):
        for template in map(draw.choose, subcases):
            made.append((*unseen(seen, _filled, draw, template), *template[:3]))
    return columns((*COLUMNS, "heuristic", "subcase", "template"), made)


def lexical_overlap(hans: Columns) -> Columns:
    """Return the rows of HANS on which this heuristic is wrong: HANS-LO of LCRGS (section 2)."""
    kinds = zip(hans["heuristic"], hans["label"], strict=True)
    wrong = ("lexical_overlap", NOT_ENTAILED)
    return pick(hans, [row for row, kind in enumerate(kinds) if kind == wrong])


def _filled(draw: Draw, template: Template) -> Row:
    premise, hypothesis = draw.choose(template.pairs)
    fills = fill(draw, premise)
    return render(premise, fills), render(hypothesis, fills), template.label


def entailed(draw: Draw, voice: float) -> Pair:
    """Draw a premise and an entailed hypothesis: without modifiers, sometimes in another voice."""
    premise = clause(draw, MODIFIERS)
    return str(premise), str(reduce(draw, premise, voice=voice))


def not_entailed(draw: Draw, voice: float) -> Pair:
    """Draw a pair as `entailed` does, then add "never" or change a content word."""
    premise = clause(draw, MODIFIERS)
    hypothesis = reduce(draw, premise, voice=voice)
    if draw.chance(NEGATIONS) and not premise.fills["Z"]:
        changed = {"Z": "never"}
    else:
        changed = change(draw, hypothesis.fills, content(premise))
    return str(premise), render(hypothesis.pattern, hypothesis.fills | changed)


def swapped(draw: Draw, voice: float) -> Pair:
    """Draw a counterexample: subject and object are exchanged."""
    premise = clause(draw, MODIFIERS, intransitive=0)
    hypothesis = reduce(draw, premise, voice=voice)
    subject, object_ = hypothesis.fills["N1"], hypothesis.fills["N2"]
    return str(premise), render(
        hypothesis.pattern, hypothesis.fills | {"N1": object_, "N2": subject}
    )


def promoted(draw: Draw, voice: float) -> Pair:
    """Draw a counterexample: the noun of the subject's prepositional phrase becomes the subject."""
    while True:
        premise = clause(draw, MODIFIERS)
        slot = "N2" if premise.pattern == PASSIVE else "N1"
        subject = premise.fills[slot]
        if isinstance(subject, Noun) and subject.after and subject.after[0] in WORDS["P"]:
            hypothesis = reduce(draw, premise, voice=voice)
            fills = hypothesis.fills | {slot: subject.after[1]}
            return str(premise), render(hypothesis.pattern, fills)


def load(
    *,
    source: Literal["synthetic"],
    root: Path,
    seed: int,
    train: Annotated[int, Field(ge=10)] = 10_000,
    test: Annotated[int, Field(ge=10)] = 2_000,
    diagnostic: Annotated[int, Field(ge=1, le=1_000)] = 100,
    counterexamples: Annotated[int, Field(ge=1)] = 2_000,
    test_counterexamples: Annotated[float, Field(ge=0, le=1)] = 0.03,
    voice: Annotated[float, Field(ge=0, le=1)] = 0.1,
    swaps: Annotated[float, Field(ge=0, le=1)] = 0.7,
) -> TextData:
    """Draw `train`, `test`, the pool `counterexamples` and the diagnostics, no pair twice.

    Half of the pairs other than counterexamples are entailed; counterexamples are not.

    Args:
        source: `synthetic`.
        root: not read.
        seed: determines everything random.
        train: the number of training pairs, at least 10.
        test: the number of test pairs, at least 10.
        diagnostic: the number of pairs in each of the 30 subcases of `hans`, 1 to 1000;
            `lexical_overlap` is the part of `hans` with that heuristic that is not entailed.
        counterexamples: the number of pairs in the pool, at least 1.
        test_counterexamples: the share of test pairs like those of the pool, from 0 to 1.
        voice: the share of transitive hypotheses in the other voice, from 0 to 1.
        swaps: the share of counterexamples that exchange subject and object, from 0 to 1; the
            others use the noun of a prepositional phrase as the subject.
    """
    seen: set[Row] = set()

    def drawn(draw: Draw, label: int, refuting: bool) -> Row:
        if refuting:
            make = swapped if draw.chance(swaps) else promoted
            return *make(draw, voice), NOT_ENTAILED
        if label == ENTAILED:
            return *entailed(draw, voice), ENTAILED
        return *not_entailed(draw, voice), NOT_ENTAILED

    def split(name: str, rows: int, refuting: float) -> Columns:
        rng = seeds.generator("nli", name, seed)
        return columns(COLUMNS, examples(rng, rows, refuting, drawn, seen))

    # Training rows are drawn last, so that their number does not change the test sets.
    tested = split("test", test, test_counterexamples)
    strategies = hans(Draw(seeds.generator("nli", "hans", seed)), diagnostic, seen)
    splits = {
        "counterexamples": split("counterexamples", counterexamples, 1),
        "train": split("train", train, 0),
        "test": tested,
        "hans": strategies,
        "lexical_overlap": lexical_overlap(strategies),
    }
    return TextData(splits, dict.fromkeys(splits, CLASSES), {})
