"""Labelled rows one by one, in batches that a method sizes and no device does."""

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


class Batches(Protocol):
    """What has labelled examples in batches, images or text."""

    def batches(self) -> Iterator[Batch]:
        """Yield a network's inputs and the labels, batch after batch."""
        ...


class Rows:
    """Labelled rows in the order of `data`, which is the same on every device.

    Images stay as they are; of text every row is kept without its padding. `plain` is for networks
    whose memory format is not channels-last.
    """

    def __init__(self, data: Batches, *, plain: bool = True) -> None:
        self.plain = plain
        self.images = data.images if isinstance(data, Resident) else None
        self.texts: list[tuple[Tensor, Tensor]] = []
        if isinstance(data, Resident):
            self.labels = data.labels
            return
        labels = []
        for (ids, mask, types), own in data.batches():
            assert ids is not None and types is not None
            real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask[:, 0, 0] == 0
            self.texts += [(i[r], t[r]) for i, t, r in zip(ids, types, real, strict=True)]
            labels.append(own)
        self.labels = torch.cat(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: np.ndarray) -> Batch:
        """Return the network's inputs and the labels of the rows of these numbers [n]."""
        index = torch.from_numpy(rows).to(self.labels.device)
        if self.images is not None:
            pixels = normalise(self.images[index])
            return (pixels.contiguous() if self.plain else pixels,), self.labels[index]
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

    def pieces(self, size: int) -> Iterator[Batch]:
        """Yield all rows in their order, at most `size` at a time, of text those of one length."""
        lengths = [len(ids) for ids, _ in self.texts] or [0] * len(self)
        start = 0
        for stop in range(1, len(self) + 1):
            if stop in (len(self), start + size) or lengths[stop] != lengths[start]:
                yield self.batch(np.arange(start, stop))
                start = stop

    def shuffled(self, size: int, generator: np.random.Generator) -> Iterator[Batch]:
        """Yield batches of `size` without end: all rows in an order drawn anew, again and again.

        A batch that an epoch's end leaves short is left out, but where it is all there is.
        """
        size = min(size, len(self))
        while True:
            order = generator.permutation(len(self))
            for start in range(0, len(self) - size + 1, size):
                yield self.batch(order[start : start + size])
