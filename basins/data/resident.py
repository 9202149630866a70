"""Images as they lie on the device, ready for a network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from basins.data.images import Split

# Images in a batch of evaluation. More fall out of a processor's cache; a GPU idles with as few.
BATCH = {"cpu": 64, "cuda": 2048}


class Resident(NamedTuple):
    """A split on the device: images uint8 [n, height, width, 3], labels int64 [n]."""

    images: Tensor
    labels: Tensor

    @property
    def order(self) -> None:
        """Which row each emitted example is; None, since `batches` keeps the split's order."""
        return None

    @property
    def merge(self) -> None:
        """Which class each of the network's counts as; None, since they are the split's own."""
        return None

    def batches(self) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
        """Yield a network's inputs and the labels, batch after batch."""
        size = BATCH[self.images.device.type]
        for images, labels in zip(self.images.split(size), self.labels.split(size), strict=True):
            yield (normalise(images),), labels


def resident(split: Split, device: torch.device) -> Resident:
    """Put a split on the device; on a CPU its images stay where they are mapped from."""
    images = torch.from_numpy(np.require(split.images, requirements="W"))
    return Resident(images.to(device), torch.from_numpy(split.labels).to(device))


def normalise(images: Tensor) -> Tensor:
    """Map images uint8 [n, height, width, 3] to float32 [n, 3, height, width] in [-1, 1].

    That is the paper's Normalize(mean .5, std .5). The result is channels-last in memory, as the
    images were, which convolutions are fastest on.
    """
    return images.permute(0, 3, 1, 2).float().mul_(2 / 255).sub_(1)
