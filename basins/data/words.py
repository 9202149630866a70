"""The vocabulary of a small corpus: its own words, each one token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from basins.data import vocabulary

if TYPE_CHECKING:
    from transformers import BertTokenizer


def tokenizer(
    sentences: Sequence[str], root: Path, *, minimum: Annotated[int, Field(ge=1)] = 1
) -> BertTokenizer:
    """Return a tokenizer that knows the words which occur `minimum` times, in alphabetical order.

    Words are what BERT takes for one: lower-case, apart from punctuation. Nothing is read below
    `root`. Raises `UserError` where no word occurs so often.
    """
    backend = vocabulary.build([]).backend_tokenizer
    counts: Counter[str] = Counter()
    for sentence in sentences:
        normal = backend.normalizer.normalize_str(sentence)
        counts.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normal))
    return vocabulary.build(sorted(vocabulary.often(counts, minimum, "words")))
