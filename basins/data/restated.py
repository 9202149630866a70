"""Sentences of our own grammar, each with a restatement: pretraining data of text encoders.

They use the whole grammar, including every word and construction of the diagnostics, so that all
embeddings that classifiers use have been trained. There are no labels: the pretraining method
corrupts the sentences itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from basins import seeds
from basins.data import acceptability, nli, paraphrase
from basins.data.grammar import Draw, Noun, Sentence, clause, fill, modify, reduce, unseen
from basins.data.text import TextData, columns


def patterns() -> tuple[str, ...]:
    """Return the distinct patterns of all tasks and their diagnostics."""
    known = chain.from_iterable(nli.templates().values())
    pairs = chain.from_iterable(template.pairs for template in known)
    inference = chain.from_iterable(pairs)
    return tuple(dict.fromkeys([*inference, *paraphrase.PATTERNS, *acceptability.ACCEPTABLE]))


def restatement(
    draw: Draw, known: Sequence[str], share: float, modifiers: float
) -> tuple[str, str]:
    """Draw a sentence and its restatement, with probability `share` from the known patterns.

    Others are simple clauses. In a pattern one random noun has modifiers, as long patterns with
    many modifiers would need more positions than the tasks.
    """
    if draw.chance(share):
        used: set[str] = set()
        pattern = draw.choose(known)
        fills = fill(draw, pattern, used)
        slot = draw.choose([slot for slot, part in fills.items() if isinstance(part, Noun)])
        noun = fills[slot]
        assert isinstance(noun, Noun)
        fills[slot] = modify(draw, noun, 0.5, used, ("P N",))
        sentence = Sentence(pattern, fills)
    else:
        sentence = clause(draw, modifiers)
    return str(sentence), str(reduce(draw, sentence))


def load(
    *,
    source: Literal["synthetic"],
    root: Path,
    seed: int,
    train: Annotated[int, Field(ge=10)] = 30_000,
    constructions: Annotated[float, Field(ge=0, le=1)] = 0.4,
    modifiers: Annotated[float, Field(gt=0, lt=1)] = 0.3,
) -> TextData:
    """Draw `train` distinct pairs sentence1, sentence2, without labels.

    Args:
        source: `synthetic`.
        root: not read.
        seed: determines everything random.
        train: the number of pairs, at least 10.
        constructions: the probability that a pair has a construction of the tasks or their
            diagnostics, from 0 to 1; others are clauses.
        modifiers: the probability of each possible modifier of a clause, between 0 and 1.
    """
    draw, seen = Draw(seeds.generator("restated", seed)), set[tuple[str, str]]()
    options = patterns(), constructions, modifiers
    pairs = [unseen(seen, restatement, draw, *options) for _ in range(train)]
    return TextData({"train": columns(("sentence1", "sentence2"), pairs)}, {}, {})
