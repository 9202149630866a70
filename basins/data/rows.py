"""Labelled rows, in batches whose size depends on the method and not on the device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from basins.data.resident import Resident, normalise
from basins.data.tokens import Inputs

Batch = tuple[tuple[Tensor | None, ...], Tensor]


BATCH = 64
"""The default number of rows per batch, if only memory depends on it."""


class Batches(Protocol):
    """Labelled examples in batches, images or text."""

    def batches(self) -> Iterator[Batch]:
        """Yield a network's inputs and the labels, batch after batch."""
        ...


class Rows:
    """Labelled rows in the order of `data`, which is the same on every device.

    Images, and any other single input, are kept unchanged; rows of text are kept without padding.
    `plain` is for networks whose memory format is not channels-last.
    """

    def __init__(self, data: Batches, *, plain: bool = True) -> None:
        self.plain = plain
        self.single: Tensor | None = None
        self.texts: list[tuple[Tensor, Tensor]] = []
        if isinstance(data, Resident):
            self.single, self.labels = data.images, data.labels
            return
        batches = list(data.batches())
        self.labels = torch.cat([labels for _, labels in batches])
        if len(batches[0][0]) == 1:
            self.single = torch.cat([x for inputs, _ in batches for x in inputs if x is not None])
            return
        for (ids, mask, types), _ in batches:
            assert ids is not None and types is not None
            real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask[:, 0, 0] == 0
            self.texts += [(i[r], t[r]) for i, t, r in zip(ids, types, real, strict=True)]

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: np.ndarray) -> Batch:
        """Return the network's inputs and labels for rows with the given indices [n]."""
        index = torch.from_numpy(rows).to(self.labels.device)
        if self.single is not None:
            taken = self.single[index]
            taken = normalise(taken) if taken.dtype == torch.uint8 else taken
            return (taken.contiguous() if self.plain else taken,), self.labels[index]
        ids, types = zip(*(self.texts[row] for row in rows), strict=True)
        lengths = torch.tensor([len(row) for row in ids])
        mask = None
        if lengths.min() < lengths.max():
            padding = torch.arange(int(lengths.max())) >= lengths[:, None]
            mask = torch.zeros(padding.shape).masked_fill(padding, -torch.inf)[:, None, None]
            mask = mask.to(self.labels.device)
        padded = (pad_sequence(list(part), batch_first=True) for part in (ids, types))
        first, second = padded
        return Inputs(first, mask, second), self.labels[index]

    def pieces(self, size: int = BATCH) -> Iterator[Batch]:
        """Yield all rows in order, at most `size` at a time; for text, rows of the same length.

        So nothing is padded, as padding would count as data in sums of activations.
        """
        lengths = [len(ids) for ids, _ in self.texts] or [0] * len(self)
        start = 0
        for stop in range(1, len(self) + 1):
            if stop in (len(self), start + size) or lengths[stop] != lengths[start]:
                yield self.batch(np.arange(start, stop))
                start = stop

    def shuffled(self, size: int, generator: np.random.Generator) -> Iterator[Batch]:
        """Yield batches of `size` indefinitely, with a new random order of all rows in each epoch.

        An incomplete batch at the end of an epoch is dropped, unless it is the only one.
        """
        size = min(size, len(self))
        while True:
            order = generator.permutation(len(self))
            for start in range(0, len(self) - size + 1, size):
                yield self.batch(order[start : start + size])
