"""A small English of our own: words, patterns with slots, and what fills the slots.

A sentence is a pattern, such as `"N1 V N2"`, and its fills: a `Noun` for each slot N, words for the
others. Rendering is the last step, so that sentences are transformed as structures: fills are
changed or exchanged, modifiers dropped, or the same fills used in another pattern.

| slot | stands for | slot | stands for |
|---|---|---|---|
| `N` | a noun phrase with its article | `F` | a verb whose clause is true |
| `X` | a plural one without article | `H` | a verb whose clause may be false |
| `V` | a transitive verb | `S` | a transitive verb that takes clauses too |
| `I` | an intransitive verb | `O` | a transitive verb whose object may be left out |
| `A` | an adjective | `P` | a preposition |
| `L` | a place | `D` | an adverb of manner |
| `R` | a relative pronoun | `Q` | a question word |
| `Y` | an adverb of certainty | `M` | an adverb of doubt |
| `Z` | "never", or nothing | `G` | a transitive verb that is none of S and O |
| `C` | a conjunction whose clause is true | `U` | a conjunction whose clause may be false |
| `B1` | was or were, as the number of `N1` asks | `K1` | the other of the two |
| `T` | a conjunction of time | | |

Digits distinguish slots of one kind; any other token of a pattern is literal. Verbs are in the past
tense and have equal participles, so that every transitive verb has a passive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain, count
from typing import Any, NamedTuple, TypeVar

import numpy as np

NOUNS = (
    *("baker", "farmer", "sailor", "painter", "nurse", "pilot", "miner", "tailor"),
    *("singer", "guard", "poet", "cook", "driver", "monk", "clerk", "dancer"),
)
OPTIONAL = ("followed", "watched", "obeyed", "cheated")
CLAUSAL = ("heard", "understood", "suspected", "noticed")
STRICT = ("praised", "chased", "greeted", "pushed", "warned", "hired", "teased", "hugged")
WORDS: dict[str, tuple[str, ...]] = {
    "N": NOUNS,
    "X": NOUNS,
    "V": (*STRICT, *OPTIONAL, *CLAUSAL),
    "I": ("laughed", "sneezed", "smiled", "yawned", "coughed", "wept", "stumbled", "knelt"),
    "A": ("old", "young", "tall", "tired", "famous", "clever", "hungry", "proud"),
    "L": ("market", "garden", "tavern", "harbour"),
    "R": ("who", "that"),
    "Y": ("certainly", "indeed", "obviously"),
    "C": ("because", "since"),
    "T": ("before", "after", "while"),
    "F": ("knew", "realised", "forgot"),
    "H": ("claimed", "hoped", "said"),
    "S": CLAUSAL,
    "O": OPTIONAL,
    "G": STRICT,
    "P": ("near", "beside", "behind", "opposite"),
    "D": ("quietly", "gladly", "openly", "calmly"),
    "Q": ("why", "when"),
    "M": ("perhaps", "maybe", "supposedly"),
    "U": ("if", "unless"),
}
FUNCTION_WORDS = ("the", "in", "by", "was", "were", "never", "and", "or", ",")
PLURAL = 0.3  # of nouns

ACTIVE, PASSIVE, INTRANSITIVE = "N1 Z V N2 D", "N2 B2 Z V by N1 D", "N1 Z I D"
VOICES = {ACTIVE: PASSIVE, PASSIVE: ACTIVE}
# Patterns that may follow a noun in simple clauses; half are prepositional phrases.
AFTER = ("P N", "P N", "P N", "R V N", "R N V", "R I")

T = TypeVar("T")


class Noun(NamedTuple):
    """A noun phrase; `after` are the words and noun phrases that follow the noun, if any."""

    lemma: str
    plural: bool = False
    adjective: str = ""
    after: tuple[str | Noun, ...] = ()
    article: str = "the"


Fill = Noun | str
Fills = dict[str, Fill]


class Sentence(NamedTuple):
    """A pattern and the fills of its slots; an empty string omits a slot."""

    pattern: str
    fills: Fills

    def __str__(self) -> str:
        return render(self.pattern, self.fills)


def vocabulary() -> list[str]:
    """Return every word of the grammar, each once, in lower case and alphabetical order."""
    plurals = {f"{noun}s" for noun in NOUNS}
    return sorted(plurals.union(FUNCTION_WORDS, *WORDS.values()))


def render(pattern: str, fills: Mapping[str, Fill]) -> str:
    """Return the sentence of a pattern and its fills, with a capital and without full stop."""
    words: list[str] = []
    for token in pattern.split():
        if token[0] in "BK" and token[1:].isdigit():
            subject = fills[f"N{token[1:]}"]
            assert isinstance(subject, Noun)
            words.append("were" if subject.plural == (token[0] == "B") else "was")
        else:
            _say(fills.get(token, token), words)
    text = " ".join(words)
    return text[0].upper() + text[1:]


def _say(part: Fill, words: list[str]) -> None:
    if isinstance(part, Noun):
        noun = f"{part.lemma}s" if part.plural else part.lemma
        words += [word for word in (part.article, part.adjective, noun) if word]
        for inner in part.after:
            _say(inner, words)
    elif part:
        words.append(part)


class Draw:
    """Single draws from a stream, which is read in blocks.

    A NumPy call for every word would take more time than the rest of making a sentence.
    """

    def __init__(self, generator: np.random.Generator) -> None:
        blocks = (generator.random(4096).tolist() for _ in count())
        self._next = chain.from_iterable(blocks).__next__

    def chance(self, share: float) -> bool:
        """Return True with this probability."""
        return self._next() < share

    def choose(self, options: Sequence[T]) -> T:
        """Return one of the options, all equally likely."""
        return options[int(self._next() * len(options))]

    def other(self, options: Sequence[str], used: set[str]) -> str:
        """Return one of the options that is not in `used`, and add it to `used`."""
        while (word := self.choose(options)) in used:
            pass
        used.add(word)
        return word


def fill(draw: Draw, pattern: str, used: set[str] | None = None) -> Fills:
    """Draw a fill for each slot of a pattern, without repeated or used words or modifiers."""
    used = set() if used is None else used
    return {slot: _drawn(draw, slot[0], used) for slot in _slots(pattern)}


def modify(draw: Draw, noun: Noun, share: float, used: set[str], after: Sequence[str]) -> Noun:
    """Give a noun an adjective, and one of the patterns `after`, each with probability `share`.

    Args:
        draw: the source of draws.
        noun: its modifiers, if any, are replaced.
        share: either probability, from 0 to 1.
        used: words that must not be drawn; drawn words are added.
        after: equally likely patterns that may follow the noun; an empty one adds nothing.
    """
    adjective = draw.other(WORDS["A"], used) if draw.chance(share) else ""
    follows = draw.choose(after).split() if draw.chance(share) else ()
    parts = (_drawn(draw, token, used) if token in WORDS else token for token in follows)
    return noun._replace(adjective=adjective, after=tuple(parts))


def clause(
    draw: Draw, share: float, *, intransitive: float = 0.2, after: Sequence[str] = AFTER
) -> Sentence:
    """Draw a clause: intransitive with that probability, else active or (15 %) passive.

    Each possible modifier is present with probability `share`, "never" with 5 %.
    """
    used: set[str] = set()
    pattern = ACTIVE
    if draw.chance(intransitive):
        pattern = INTRANSITIVE
    elif draw.chance(0.15):
        pattern = PASSIVE
    fills = fill(draw, pattern, used)
    for slot, noun in fills.items():
        if isinstance(noun, Noun):
            fills[slot] = modify(draw, noun, share, used, after)
    fills["Z"] = "never" if draw.chance(0.05) else ""
    # Dropping an adverb under negation is not entailed: "never quietly" is not "never".
    fills["D"] = "" if fills["Z"] or not draw.chance(share) else manner(draw, used)
    return Sentence(pattern, fills)


def manner(draw: Draw, used: set[str]) -> str:
    """Draw an adverb of manner or a place, either of which may fill a slot D."""
    if draw.chance(0.5):
        return draw.other(WORDS["D"], used)
    return f"in the {draw.other(WORDS['L'], used)}"


def reduce(draw: Draw, sentence: Sentence, keep: float = 0.3, voice: float = 0.1) -> Sentence:
    """Return an entailed sentence: modifiers are dropped, and sometimes the voice is changed.

    The modifiers of each noun are kept with probability `keep`, as is the adverb; a transitive
    clause changes its voice with probability `voice`.
    """
    fills = dict(sentence.fills)
    for slot, part in fills.items():
        droppable = isinstance(part, Noun) or slot == "D"
        if droppable and not draw.chance(keep):
            fills[slot] = part._replace(adjective="", after=()) if isinstance(part, Noun) else ""
    turned = sentence.pattern in VOICES and draw.chance(voice)
    return Sentence(VOICES[sentence.pattern] if turned else sentence.pattern, fills)


def change(draw: Draw, fills: Fills, used: set[str]) -> Fills:
    """Return the fills with one word replaced by another of its kind that is not in `used`."""
    slot = draw.choose([slot for slot, part in fills.items() if part and slot != "Z"])
    part = fills[slot]
    if isinstance(part, Noun):
        kind = "A" if part.adjective and draw.chance(0.5) else "N"
        word = draw.other(WORDS[kind], used)
        return {slot: part._replace(**{"adjective" if kind == "A" else "lemma": word})}
    *before, _ = part.split()
    kind = "L" if before else slot[0]
    return {slot: " ".join([*before, draw.other(WORDS[kind], used)])}


def unseen(seen: set[T], make: Callable[..., T], *arguments: Any) -> T:
    """Repeat `make` until its result is not in `seen`, and add it to `seen`."""
    while (made := make(*arguments)) in seen:
        pass
    seen.add(made)
    return made


def examples(
    rng: np.random.Generator,
    rows: int,
    refuting: float,
    make: Callable[[Draw, int, bool], T],
    seen: set[T],
) -> list[T]:
    """Make rows of a task with two labels, none of which is in `seen`, and add them to `seen`.

    Args:
        rng: determines everything random.
        rows: the number of rows.
        refuting: the share of rows that contradict the task's heuristic, from 0 to 1.
        make: makes a row from a source of draws, a label (0 or 1, for half of the rows each), and
            whether the row should contradict the heuristic.
        seen: rows that must not be repeated.
    """
    labels, against = rng.permutation(rows) % 2, rng.permutation(rows) < round(refuting * rows)
    draw, kinds = Draw(rng), zip(labels.tolist(), against.tolist(), strict=True)
    return [unseen(seen, make, draw, *kind) for kind in kinds]


def content(sentence: Sentence) -> set[str]:
    """Return the lemmas of all words in a sentence's slots."""
    return set(chain.from_iterable(map(_content, sentence.fills.values())))


def _content(part: Fill) -> Iterator[str]:
    if isinstance(part, Noun):
        yield from (part.lemma, part.adjective)
        for inner in part.after:
            yield from _content(inner)
    else:
        yield from part.split()


@cache
def _slots(pattern: str) -> tuple[str, ...]:
    """Return the slots of a pattern that hold words, each once."""
    found = (t for t in pattern.split() if t[0] in WORDS and (t[1:].isdigit() or not t[1:]))
    return tuple(dict.fromkeys(found))


def _drawn(draw: Draw, kind: str, used: set[str]) -> Fill:
    word = draw.other(WORDS[kind], used)
    if kind == "X":
        return Noun(word, plural=True, article="")
    return Noun(word, draw.chance(PLURAL)) if kind == "N" else word
