"""The part of BERT's WordPiece vocabulary that a corpus needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from basins.data import vocabulary
from basins.errors import UserError

if TYPE_CHECKING:
    from transformers import BertTokenizer


def tokenizer(
    sentences: Sequence[str],
    root: Path,
    *,
    file: str = "bert-base-uncased/vocab.txt",
    minimum: Annotated[int, Field(ge=1)] = 1,
) -> BertTokenizer:
    """Return a tokenizer of the pieces in `root`/`file` that occur `minimum` times in `sentences`.

    They keep the file's order. A word with rarer pieces is split differently or is unknown. Raises
    `UserError` if the file is missing or not a vocabulary, or no piece occurs often enough.
    """
    path = root / file
    try:
        # Some pieces are line breaks for `splitlines`, but not for BERT.
        pieces = [line.strip("\r") for line in path.read_text(encoding="utf-8").split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: no readable vocabulary ({error}); put BERT's vocab.txt there, below "
            "`data_root` (params.yaml) or the folder that BASINS_DATA names"
        ) from None
    if missing := [name for name in vocabulary.SPECIAL if name not in pieces]:
        raise UserError(f"{path}: no BERT vocabulary, it lacks {', '.join(missing)}")
    whole = vocabulary.build(pieces)
    names = whole.convert_ids_to_tokens(list(range(len(whole))))
    counts: Counter[int] = Counter()
    for some in (list(sentences[i : i + 10_000]) for i in range(0, len(sentences), 10_000)):
        for row in whole(some, add_special_tokens=False)["input_ids"]:
            counts.update(row)
    needed = vocabulary.often(
        Counter({names[i]: count for i, count in counts.items()}), minimum, str(path)
    )
    return vocabulary.build([piece for piece in pieces if piece in needed])
