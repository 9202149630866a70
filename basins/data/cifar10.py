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

    What is read has the official md5, and is unpickled without running any code
    (`files.unpickle`).

    Args:
        source: with `files`, `root` must hold `cifar-10-batches-py/`; with `hub`, the official
            archive is downloaded and these files of it are put there.
        root: the folder of real data.
        seed: not used, since nothing is random.
        train: how many training images, 10 to 50,000.
        test: how many test images, 10 to 10,000.

    Raises:
        UserError: naming each file that is missing or damaged.
    """
    return official(CIFAR10, "CIFAR-10", source, root, train, test)


def official(
    kind: type[CIFAR10], title: str, source: str, root: Path, train: int, test: int
) -> ImageData:
    """Return one of torchvision's CIFAR datasets from its verified files; see `load`.

    Args:
        kind: torchvision's class, which names the files and their md5.
        title: what error messages call the dataset.
        source: `files`, or `hub` to download what is missing.
        root: the folder of real data.
        train: how many training images, the first.
        test: how many test images, the first.

    Raises:
        UserError: naming each file that is missing or damaged.
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
    """Return the images of a batch, whose pixels lie colour by colour, and their (fine) labels."""
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
