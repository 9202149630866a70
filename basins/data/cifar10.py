"""CIFAR-10 (Krizhevsky 2009), through torchvision, from its official python batches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from torchvision.datasets import CIFAR10

from basins.data.files import download, verify
from basins.data.images import ImageData, Split


def load(
    *,
    source: Literal["files", "hub"],
    root: Path,
    seed: int,
    train: Annotated[int, Field(ge=10, le=50_000)] = 50_000,
    test: Annotated[int, Field(ge=10, le=10_000)] = 10_000,
) -> ImageData:
    """Return the first `train` and `test` images, 32x32, of ten classes, in the official order.

    With `files`, `root` must hold `cifar-10-batches-py/`; with `hub`, torchvision downloads it
    there. Nothing is unpickled before its md5 is the official one. Nothing is random, so `seed` is
    not used. Raises `UserError` naming each file that is missing or damaged.
    """
    return official(CIFAR10, "CIFAR-10", source, root, train, test)


def official(
    kind: type[CIFAR10], title: str, source: str, root: Path, train: int, test: int
) -> ImageData:
    """Return one of torchvision's CIFAR datasets from its verified files; see `load`."""
    if source == "hub":
        download(kind, title, root)
    checksums = {name: md5 for name, md5 in [*kind.train_list, *kind.test_list]}
    checksums[kind.meta["filename"]] = kind.meta["md5"]
    remedy = f"Unpack the official {kind.filename} into"
    verify(title, root / kind.base_folder, checksums, remedy)
    splits, classes = {}, ()
    for name, size in (("train", train), ("test", test)):
        loaded = kind(str(root), train=name == "train", download=False)
        labels = np.array(loaded.targets, dtype=np.int64)
        splits[name] = Split(loaded.data[:size], labels[:size])
        classes = tuple(loaded.classes)
    return ImageData(splits["train"], splits["test"], classes, checksums)
