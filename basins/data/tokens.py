"""Text as token ids, in batches of rows of similar length on the device."""

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

# Tokens per batch: more only add padding on a CPU, and fewer do not saturate a GPU.
BUDGET = {"cpu": 1024, "cuda": 32768}
OVERHEAD = 1 / 32  # fixed cost of a batch, as a share of a full batch's cost

Rows = Sequence[Sequence[int]]


class Inputs(NamedTuple):
    """BERT's inputs in order: ids int64 [n, T], the attention mask, and types int64 [n, T].

    The mask, float32 [n, 1, 1, T], is added to attention scores: 0 at tokens and -inf at padding.
    This is its final form, which Hugging Face would otherwise compute in every forward pass. It is
    None if nothing is padded, so that attention uses a faster kernel with the same logits.
    """

    ids: Tensor
    mask: Tensor | None
    types: Tensor


@dataclass(frozen=True)
class Tokens:
    """A text split on the device, in batches that are made once.

    `order` int64 [n] is the dataset's row of each row in the batches, in sequence; `padding` is the
    number of tokens in the batches, including padding, per token of text, at best 1. `merge` int64
    [classes of the network] is the split's class that each of the network's counts as, or None if
    they are the same: in HANS, contradiction and neutral are one class.
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

    With a `limit` of tokens, the tokenizer truncates the longer sentence of a row. Types are 0 if
    the tokenizer returns none.
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
    """Return the result of `encode` for the encoder of a config, with `limit` tokens per row.

    If the config's `long_rows` is `truncate`, longer rows are truncated, and a warning says how
    many; otherwise they are left unchanged. Raises `UserError` if a sentence is missing.
    """
    for name in fields(columns):
        refuse(where, f"no text in {name!r}", [not isinstance(s, str) for s in columns[name]])
    ids, types = encode(columns, tokenizer)
    if config.get("long_rows") == "truncate":
        if _typed(tokenizer) and tokenizer.cls_token and tokenizer.sep_token:
            ids, types, cut = truncate(ids, types, limit)
        else:  # only the tokenizer knows which tokens of a row are special
            cut = sum(len(row) > limit for row in ids)
            ids, types = encode(columns, tokenizer, limit)
        if cut:
            warnings.warn(f"{where}: {cut} of {len(ids)} rows cut to {limit} tokens", stacklevel=2)
    return ids, types


def truncate(ids: Rows, types: Rows, limit: int) -> tuple[Rows, Rows, int]:
    """Truncate rows to `limit` tokens like BERT's original code; also return how many were cut.

    In a pair the last token of the longer sentence is removed repeatedly, of the second if both are
    equally long. The special tokens that begin the row and end each sentence are kept.
    """
    kept = [_kept(row, limit) for row in types]
    cut_ids = [[row[i] for i in places] for row, places in zip(ids, kept, strict=True)]
    cut_types = [[row[i] for i in places] for row, places in zip(types, kept, strict=True)]
    return cut_ids, cut_types, sum(len(row) > limit for row in ids)


def _typed(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether the tokenizer's network uses types: BERT's does, RoBERTa's does not."""
    return "token_type_ids" in tokenizer.model_input_names


def _kept(types: Sequence[int], limit: int) -> list[int]:
    """Return the indices of the tokens that are kept, for a row with these types."""
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
        labels: the n labels.
        pad: the id of padding.
        limit: the most tokens that a row may have; nothing is truncated.
        device: where the rows are put.
        where: the data's name in error messages.
        budget: the most tokens of a batch, including padding, unless it is a single row. By default
            it depends on the device.

    Raises:
        UserError: there are no rows, or a row is empty or longer than `limit`; the message names
            `where`.
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
    """Concatenate rows in the given order, as int64 [tokens]."""
    return np.fromiter(chain.from_iterable(rows[i] for i in order), dtype=np.int64)


def _cuts(lengths: np.ndarray, budget: int) -> list[int]:
    """Return the boundaries, from 0 to n, of batches of rows with ascending lengths [n].

    They minimise the number of tokens, including padding, plus the overhead of each batch: many
    rows of one length form their own batches, and few are joined with their neighbours.
    """
    cost = np.zeros(len(lengths) + 1)  # of the cheapest batches for the rows before each index
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
