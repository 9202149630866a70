"""Images on the device, ready for a network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from basins.data.images import Split

# Images per evaluation batch: more exceed a CPU's cache, and fewer do not saturate a GPU.
BATCH = {"cpu": 64, "cuda": 2048}


class Resident(NamedTuple):
    """A split on the device: images uint8 [n, height, width, 3], labels int64 [n]."""

    images: Tensor
    labels: Tensor

    @property
    def order(self) -> None:
        """The row of each emitted example; None, since `batches` keeps the split's order."""
        return None

    @property
    def merge(self) -> None:
        """How the network's classes are merged; None, since they are the split's own."""
        return None

    def batches(self) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
        """Yield a network's inputs and the labels, batch after batch."""
        size = BATCH[self.images.device.type]
        for images, labels in zip(self.images.split(size), self.labels.split(size), strict=True):
            yield (normalise(images),), labels


def resident(split: Split, device: torch.device) -> Resident:
    """Put a split on the device; on a CPU its images stay memory-mapped."""
    images = torch.from_numpy(np.require(split.images, requirements="W"))
    return Resident(images.to(device), torch.from_numpy(split.labels).to(device))


def normalise(images: Tensor) -> Tensor:
    """Map images uint8 [n, height, width, 3] to float32 [n, 3, height, width] in [-1, 1].

    This is the paper's Normalize(mean .5, std .5). The result is channels-last in memory, like the
    images, which is fastest for convolutions.
    """
    return images.permute(0, 3, 1, 2).float().mul_(2 / 255).sub_(1)
