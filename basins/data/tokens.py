"""Text as token ids, and as it lies on the device: batches of rows of nearly one length."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from basins.data.text import Columns, fields, refuse
from basins.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Tokens in a batch. On a CPU more gain nothing and pad more; a GPU idles with as few.
BUDGET = {"cpu": 1024, "cuda": 32768}
OVERHEAD = 1 / 32  # what a batch costs before its first token, as a share of a full one

Rows = Sequence[Sequence[int]]


class Inputs(NamedTuple):
    """What BERT takes, in its order: ids and types int64 [n, T], between them the attention mask.

    The mask, float32 [n, 1, 1, T], is added to attention's scores: 0 at tokens and -inf at padding.
    That is its last form, which Hugging Face would otherwise work out anew in every forward pass.
    It is None where nothing is padded, and attention takes a faster kernel to the same logits.
    """

    ids: Tensor
    mask: Tensor | None
    types: Tensor


@dataclass(frozen=True)
class Tokens:
    """A text split on the device, in batches that are made once.

    `order` int64 [n] is the dataset's row of each row that the batches hold, one after the other;
    `padding` is how many tokens the batches hold for each token of the text, 1 at best. `merge`
    int64 [classes of the network] is the split's class that each of the network's counts as, or
    None where they are the same: to HANS contradiction and neutral are one class.
    """

    parts: tuple[tuple[Inputs, Tensor], ...]
    order: Tensor
    padding: float
    merge: Tensor | None = None

    def batches(self) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield a network's inputs and the labels int64 [n], batch after batch."""
        return iter(self.parts)


def encode(
    columns: Columns, tokenizer: PreTrainedTokenizerBase, limit: int | None = None
) -> tuple[Rows, Rows]:
    """Return the token ids and token types of each row's sentence or pair, of any length.

    With a `limit` the tokenizer cuts the longer sentence of a row to have no more tokens. Types are
    0 where the tokenizer makes none.
    """
    first, *second = (columns[name] for name in fields(columns))
    cut = {} if limit is None else {"truncation": "longest_first", "max_length": limit}
    found = tokenizer(
        first,
        second[0] if second else None,
        return_token_type_ids=True,
        return_attention_mask=False,
        verbose=False,
        **cut,
    )
    ids, types = found["input_ids"], found["token_type_ids"]
    return ids, types if _typed(tokenizer) else [[0] * len(row) for row in ids]


def fitting(
    columns: Columns,
    tokenizer: PreTrainedTokenizerBase,
    config: Mapping[str, Any],
    limit: int,
    where: str,
) -> tuple[Rows, Rows]:
    """Return what `encode` does, for the encoder of a config, which takes `limit` tokens a row.

    Where the config's `long_rows` is `truncate`, longer rows are cut, and a warning says how many;
    else they stay as long as they are. Raises `UserError` where a sentence is missing.
    """
    for name in fields(columns):
        refuse(where, f"no text in {name!r}", [not isinstance(s, str) for s in columns[name]])
    ids, types = encode(columns, tokenizer)
    if config.get("long_rows") == "truncate":
        if _typed(tokenizer) and tokenizer.cls_token and tokenizer.sep_token:
            ids, types, cut = truncate(ids, types, limit)
        else:  # only the tokenizer knows which of a row's tokens are no words
            cut = sum(len(row) > limit for row in ids)
            ids, types = encode(columns, tokenizer, limit)
        if cut:
            warnings.warn(f"{where}: {cut} of {len(ids)} rows cut to {limit} tokens", stacklevel=2)
    return ids, types


def truncate(ids: Rows, types: Rows, limit: int) -> tuple[Rows, Rows, int]:
    """Cut rows to `limit` tokens as BERT's own code does; return also how many rows were cut.

    Of a pair the longer sentence loses its last token, again and again, the second where both are
    equally long. The special tokens that begin the row and end each sentence stay.
    """
    kept = [_kept(row, limit) for row in types]
    cut_ids = [[row[i] for i in places] for row, places in zip(ids, kept, strict=True)]
    cut_types = [[row[i] for i in places] for row, places in zip(types, kept, strict=True)]
    return cut_ids, cut_types, sum(len(row) > limit for row in ids)


def _typed(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether the network of this tokenizer is given types: BERT's is, RoBERTa's is not."""
    return "token_type_ids" in tokenizer.model_input_names


def _kept(types: Sequence[int], limit: int) -> list[int]:
    """Return which tokens of a row of these types are left of it."""
    length, pair = len(types), sum(types) > 0
    ends = [length - sum(types) - 1, length - 1] if pair else [length - 1]
    starts = [1, ends[0] + 1][: len(ends)]
    room = [end - start for start, end in zip(starts, ends, strict=True)]
    while sum(room) + len(room) + 1 > limit:
        room[0 if room[0] > room[-1] else -1] -= 1
    sentences = zip(starts, ends, room, strict=True)
    return [0, *chain.from_iterable((*range(s, s + n), end) for s, end, n in sentences)]


def tokens(
    ids: Sequence[Sequence[int]],
    types: Sequence[Sequence[int]],
    labels: Sequence[int],
    *,
    pad: int,
    limit: int,
    device: torch.device,
    where: str,
    budget: int | None = None,
) -> Tokens:
    """Put rows of token ids, their token types and labels on the device, sorted by length.

    Args:
        ids: the token ids of each of n rows.
        types: their token types.
        labels: of the rows, n.
        pad: the id that fills shorter rows.
        limit: the most tokens that a row may have; nothing is ever cut off.
        device: where the rows are put.
        where: what error messages call the data.
        budget: the most tokens that a batch holds, with those that pad its shorter rows, unless it
            is a single row. By default what suits the device.

    Raises:
        UserError: saying `where`, if there are no rows or if any is empty or longer than `limit`
            tokens.
    """
    lengths = np.array([len(row) for row in ids], dtype=np.int64)
    if not len(lengths):
        raise UserError(f"{where}: it has no rows; give it at least one")
    if refused := np.count_nonzero((lengths < 1) | (lengths > limit)):
        raise UserError(
            f"{where}: {refused} of {len(lengths)} rows do not have 1 to {limit} tokens (the "
            f"longest has {lengths.max()}); drop them, give the network more positions, or cut "
            "them (`--truncate`; in the pipeline's pretrain `long_rows: truncate`)"
        )
    order = np.argsort(lengths, kind="stable")
    lengths = lengths[order]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    flat_ids, flat_types = _flat(ids, order), _flat(types, order)
    sorted_labels = torch.from_numpy(np.asarray(labels, dtype=np.int64)[order]).to(device)

    def batch(start: int, stop: int) -> tuple[Inputs, Tensor]:
        real = np.arange(lengths[stop - 1]) < lengths[start:stop, None]

        def padded(flat: np.ndarray, value: int) -> Tensor:
            rows = np.full(real.shape, value)
            rows[real] = flat[ends[start] : ends[stop]]
            return torch.from_numpy(rows).to(device)

        scores = np.where(real, np.float32(0), np.float32(-np.inf))[:, None, None]
        mask = None if real.all() else torch.from_numpy(scores).to(device)
        inputs = Inputs(padded(flat_ids, pad), mask, padded(flat_types, 0))
        return inputs, sorted_labels[start:stop]

    cuts = _cuts(lengths, budget or BUDGET[device.type])
    parts = tuple(batch(*pair) for pair in pairwise(cuts))
    held = sum(inputs.ids.numel() for inputs, _ in parts)
    return Tokens(parts, torch.from_numpy(order), held / int(ends[-1]))


def _flat(rows: Sequence[Sequence[int]], order: np.ndarray) -> np.ndarray:
    """Return the numbers of all rows, the rows in the given order, as int64 [tokens]."""
    return np.fromiter(chain.from_iterable(rows[i] for i in order), dtype=np.int64)


def _cuts(lengths: np.ndarray, budget: int) -> list[int]:
    """Return where to cut ascending lengths [n] into batches, from 0 to n.

    The cuts minimise the tokens held, padding included, plus the overhead of each batch: rows of
    one length stay by themselves where they are many, and join their neighbours where few.
    """
    cost = np.zeros(len(lengths) + 1)  # of the cheapest batches that hold the rows before each
    start = np.zeros(len(lengths) + 1, dtype=np.int64)  # of the last of those batches
    for stop, width in enumerate(lengths, start=1):
        first = max(0, stop - max(1, budget // width))
        costs = cost[first:stop] + width * np.arange(stop - first, 0, -1)
        start[stop] = first + costs.argmin()
        cost[stop] = costs.min() + OVERHEAD * budget
    cuts = [len(lengths)]
    while cuts[-1]:
        cuts.append(int(start[cuts[-1]]))
    return cuts[::-1]
