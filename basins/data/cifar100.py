"""CIFAR-100 (Krizhevsky 2009): its official files, through torchvision, or images by class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from torchvision.datasets import CIFAR100

from basins.data import image_folder
from basins.data.cifar10 import official
from basins.data.images import ImageData, Split
from basins.errors import UserError


def load(
    *,
    source: Literal["files", "hub"],
    root: Path,
    seed: int,
    train: Annotated[int, Field(ge=100, le=50_000)] = 50_000,
    test: Annotated[int, Field(ge=100, le=10_000)] = 10_000,
    folder: image_folder.Name | None = None,
) -> ImageData:
    """Return the first `train` and `test` images, 32x32, of 100 fine classes, in official order.

    Otherwise as `cifar10.load`. The images of a `folder` are ordered so that classes alternate, and
    are not verified by an official md5.

    Args:
        source: with `files`, `root` must contain `cifar-100-python/`; with `hub`, these files are
            downloaded there from the official archive.
        root: the folder of real data.
        seed: not used.
        train: the number of training images, 100 to 50,000.
        test: the number of test images, 100 to 10,000.
        folder: with `files`, a folder in `root` with one folder of images per class, in the form of
            `image_folder`, instead of the official files.

    Raises:
        UserError: files are missing or damaged, named in the message, or a folder's images are not
            32x32 of 100 classes.
    """
    if folder is None:
        return official(CIFAR100, "CIFAR-100", source, root, train, test)
    if source != "files":
        raise UserError(f"CIFAR-100: folder {folder!r} is read with source `files`, not {source!r}")
    found = image_folder.load(source="files", root=root, seed=seed, folder=folder)
    height, width = found.train.images.shape[1:3]
    if (len(found.classes), height, width) != (100, 32, 32):
        what = f"{len(found.classes)} classes of images of {width} x {height} pixels"
        raise UserError(f"{root / folder}: {what}; CIFAR-100 has 100, of 32 x 32")
    return found._replace(
        train=_in_turn(found.train, train, root / folder / "train"),
        test=_in_turn(found.test, test, root / folder / "test"),
    )


def _in_turn(split: Split, size: int, where: Path) -> Split:
    """Return the first `size` images, with alternating classes."""
    if len(split.labels) < size:
        raise UserError(f"{where}: {len(split.labels)} images, fewer than the {size} asked for")
    rank = np.empty_like(split.labels)
    for label in np.unique(split.labels):
        members = np.flatnonzero(split.labels == label)
        rank[members] = np.arange(len(members))
    rows = np.lexsort((split.labels, rank))[:size]
    return Split(split.images[rows], split.labels[rows])
