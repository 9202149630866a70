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

    The rest is as in `cifar10.load`.

    Args:
        source: with `files`, `root` must hold `cifar-100-python/`; with `hub`, the official archive
            is downloaded and these files of it are put there.
        root: the folder of real data.
        seed: not used, since nothing is random.
        train: how many training images, 100 to 50,000.
        test: how many test images, 100 to 10,000.

    Raises:
        UserError: naming each file that is missing or damaged.
    """
    return official(CIFAR100, "CIFAR-100", source, root, train, test)
