"""CIFAR-100 (Krizhevsky 2009), through torchvision, from its official python files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from torchvision.datasets import CIFAR100

from basins.data.cifar10 import official
from basins.data.images import ImageData


def load(
    *,
    source: Literal["files", "hub"],
    root: Path,
    seed: int,
    train: Annotated[int, Field(ge=100, le=50_000)] = 50_000,
    test: Annotated[int, Field(ge=100, le=10_000)] = 10_000,
) -> ImageData:
    """Return the first `train` and `test` images, 32x32, of 100 fine classes, in official order.

    With `files`, `root` must hold `cifar-100-python/`; the rest is as in `cifar10.load`.
    """
    return official(CIFAR100, "CIFAR-100", source, root, train, test)
