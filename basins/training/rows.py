"""Rows of text for training: batches in any order, padded to their longest row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from basins.data.text import Columns
from basins.data.tokens import Inputs, fitting
from basins.errors import UserError
from basins.nets import checkpoint


@dataclass(frozen=True)
class Rows:
    """Token ids and types of n concatenated rows, int64 [tokens], and their labels.

    `starts`, `lengths` and `labels` are int64 [n]; `pad` is the id of padding.
    """

    ids: Tensor
    types: Tensor
    starts: Tensor
    lengths: Tensor
    labels: Tensor
    pad: int

    def batch(self, rows: Tensor) -> Inputs:
        """Return a network's inputs for the given rows [b], padded to the longest of them."""
        lengths = self.lengths[rows]
        columns = torch.arange(int(lengths.max()), device=rows.device)
        padding = columns >= lengths[:, None]
        places = (self.starts[rows, None] + columns).masked_fill_(padding, 0)
        ids = self.ids[places].masked_fill_(padding, self.pad)
        types = self.types[places].masked_fill_(padding, 0)
        if not padding.any():
            return Inputs(ids, None, types)
        mask = torch.zeros(padding.shape, device=rows.device).masked_fill_(padding, -torch.inf)
        return Inputs(ids, mask[:, None, None], types)


def rows(
    ids: Sequence[Sequence[int]],
    types: Sequence[Sequence[int]],
    labels: Sequence[int],
    *,
    pad: int,
    limit: int,
    device: torch.device,
    where: str,
) -> Rows:
    """Put tokenised rows on the device.

    Args:
        ids: the token ids of each of n rows.
        types: their token types.
        labels: the n labels.
        pad: the id of padding.
        limit: the most tokens that a row may have.
        device: where the rows are put.
        where: the data's name in error messages.

    Raises:
        UserError: if a row is empty or over the `limit`.
    """
    lengths = torch.tensor([len(row) for row in ids])
    if refused := int(((lengths < 1) | (lengths > limit)).sum()):
        raise UserError(
            f"{where}: {refused} of {len(ids)} rows do not have 1 to {limit} tokens (the longest "
            f"has {int(lengths.max())}); drop them, give the network more positions, or cut them "
            "(pretrain: `long_rows: truncate`)"
        )
    flat = [torch.tensor(list(chain.from_iterable(column))).to(device) for column in (ids, types)]
    starts = (lengths.cumsum(0) - lengths).to(device)
    answers = torch.tensor(labels, device=device)
    return Rows(flat[0], flat[1], starts, lengths.to(device), answers, pad)


def tokenised(
    columns: Columns,
    tokenizer: Any,
    config: Mapping[str, Any],
    device: torch.device,
    where: str,
) -> Rows:
    """Return rows of text, tokenised for the network of a config.

    Args:
        columns: the sentences and their `label`, by default 0.
        tokenizer: the network's.
        config: the network's: the most tokens of a row, and possibly `long_rows`.
        device: where the rows are put.
        where: the data's name in error messages and warnings.

    Raises:
        UserError: a sentence is missing, or a row is empty or too long.
    """
    limit = checkpoint.longest(config)
    ids, types = fitting(columns, tokenizer, config, limit, where)
    labels, pad = columns.get("label", [0] * len(ids)), tokenizer.pad_token_id or 0
    return rows(ids, types, labels, pad=pad, limit=limit, device=device, where=where)
