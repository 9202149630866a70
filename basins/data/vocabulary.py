"""BERT tokenizers from a list of pieces.

Each vocabulary has `tokenizer(sentences, root, **options) -> BertTokenizer`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from basins.errors import UserError

if TYPE_CHECKING:
    from transformers import BertTokenizer

# Their positions in the list are their ids.
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def build(pieces: Iterable[str]) -> BertTokenizer:
    """Return an uncased tokenizer whose vocabulary is `SPECIAL`, then the pieces in order."""
    from transformers import BertTokenizer

    vocabulary = dict.fromkeys([*SPECIAL, *pieces])
    return BertTokenizer(vocab={piece: i for i, piece in enumerate(vocabulary)})


def often(counts: Counter[str], minimum: int, where: str) -> set[str]:
    """Return the items counted at least `minimum` times; raises `UserError` if there are none."""
    found = {piece for piece, count in counts.items() if count >= minimum} - set(SPECIAL)
    if not found:
        raise UserError(f"{where}: nothing occurs {minimum} times; lower `minimum`")
    return found
