"""Networks so small that what a merge makes of them can be worked out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from basins.data.resident import Resident
from basins.merges.sources import Sources
from basins.nets.permutation import Net, PermutationSpec

CLASSES = 3
Make = Callable[..., Sources]


class Linear(Net):
    """A linear classifier of the 12 numbers of an image of 2 x 2."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(12, CLASSES, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images.flatten(1))

    def permutation_spec(self) -> PermutationSpec:
        return PermutationSpec({})


def images(count: int, seed: int = 0) -> Resident:
    stream = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 2, 2, 3), generator=stream, dtype=torch.uint8)
    return Resident(pixels, torch.randint(0, CLASSES, (count,), generator=stream))


def numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def make() -> Make:
    def make(
        weights: Sequence[Tensor], base: Tensor | None = None, rows: int = 40, seed: int = 0
    ) -> Sources:
        """Return linear classifiers with these weights [36], or [3, 12]."""
        states = [{"head.weight": w.view(CLASSES, 12).clone()} for w in weights]
        start = None if base is None else {"head.weight": base.view(CLASSES, 12)}
        return Sources(states, start, Linear(), images(rows), np.random.default_rng(seed))

    return make
