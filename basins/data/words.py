"""The vocabulary of a small corpus: each of its words is one token."""

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
    """Return a tokenizer of the words that occur at least `minimum` times, in alphabetical order.

    Words are those of BERT: lower case, separated from punctuation. `root` is not used. Raises
    `UserError` if no word occurs often enough.
    """
    backend = vocabulary.build([]).backend_tokenizer
    counts: Counter[str] = Counter()
    for sentence in sentences:
        normal = backend.normalizer.normalize_str(sentence)
        counts.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normal))
    return vocabulary.build(sorted(vocabulary.often(counts, minimum, "words")))
