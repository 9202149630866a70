"""CIFAR-10 (Krizhevsky 2009), through torchvision, from its official python batches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from torchvision.datasets import CIFAR10

from basins.data import files
from basins.data.images import ImageData, Split
from basins.errors import UserError


def load(
    *,
    source: Literal["files", "hub"],
    root: Path,
    seed: int,
    train: Annotated[int, Field(ge=10, le=50_000)] = 50_000,
    test: Annotated[int, Field(ge=10, le=10_000)] = 10_000,
) -> ImageData:
    """Return the first `train` and `test` images, 32x32, of ten classes, in the official order.

    Files are verified by the official md5, and unpickled without running any code
    (`files.unpickle`).

    Args:
        source: with `files`, `root` must contain `cifar-10-batches-py/`; with `hub`, these files
            are downloaded there from the official archive.
        root: the folder of real data.
        seed: not used.
        train: the number of training images, 10 to 50,000.
        test: the number of test images, 10 to 10,000.

    Raises:
        UserError: files are missing or damaged; the message names each.
    """
    return official(CIFAR10, "CIFAR-10", source, root, train, test)


def official(
    kind: type[CIFAR10], title: str, source: str, root: Path, train: int, test: int
) -> ImageData:
    """Return one of torchvision's CIFAR datasets from its verified files; see `load`.

    Args:
        kind: torchvision's class, which lists the files and their md5.
        title: the dataset's name in error messages.
        source: `files`, or `hub` to download missing files.
        root: the folder of real data.
        train: the number of training images.
        test: the number of test images.

    Raises:
        UserError: files are missing or damaged; the message names each.
    """
    folder = root / kind.base_folder
    checksums = {name: md5 for name, md5 in [*kind.train_list, *kind.test_list]}
    checksums[kind.meta["filename"]] = kind.meta["md5"]
    if source == "hub" and not files.complete(folder, checksums):
        archive = files.download(title, [kind.url], root, kind.tgz_md5)
        files.extract(archive, [f"{kind.base_folder}/{name}" for name in checksums], root)
    remedy = f"Unpack the official {kind.filename} into"
    contents = files.contents(title, folder, checksums, remedy)
    where = f"{folder / kind.meta['filename']}"
    classes = files.unpickle(contents[kind.meta["filename"]], where).get(kind.meta["key"])
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise UserError(f"{where}: not as published (no {kind.meta['key']!r})")

    def split(names: list[list[str]], size: int) -> Split:
        batches = [_batch(contents.pop(name), folder / name, len(classes)) for name, _ in names]
        images, labels = (np.concatenate(parts)[:size] for parts in zip(*batches, strict=True))
        return Split(images, labels)

    return ImageData(
        split(kind.train_list, train), split(kind.test_list, test), tuple(classes), checksums
    )


def _batch(content: bytes, file: Path, classes: int) -> Split:
    """Return the images of a batch, stored channel by channel, and their (fine) labels."""
    batch = files.unpickle(content, str(file))
    pixels, labels = batch.get("data"), batch.get("labels", batch.get("fine_labels"))
    if not isinstance(pixels, np.ndarray) or pixels.shape[1:] != (3072,) or not len(pixels):
        raise UserError(f"{file}: not as published (no images of 3072 bytes)")
    if not isinstance(labels, list) or len(labels) != len(pixels):
        raise UserError(f"{file}: not as published (no label for every image)")
    if not all(type(label) is int and 0 <= label < classes for label in labels):
        raise UserError(f"{file}: not as published (a label that is none of {classes} classes)")
    images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Split(images, np.array(labels, dtype=np.int64))
