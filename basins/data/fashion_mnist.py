"""Fashion-MNIST (Xiao et al. 2017), from its official files, at the size of CIFAR-10.

As in Mechanistic Mode Connectivity, section 2.1 of its code: RGB, 32x32 by PIL's bilinear filter.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from PIL import Image
from pydantic import Field
from torchvision.datasets import FashionMNIST

from basins.data import files
from basins.data.images import ImageData, Split
from basins.errors import UserError

SIDE = 32


def load(
    *,
    source: Literal["files", "hub"],
    root: Path,
    seed: int,
    train: Annotated[int, Field(ge=10, le=60_000)] = 60_000,
    test: Annotated[int, Field(ge=10, le=10_000)] = 10_000,
) -> ImageData:
    """Return the first `train` and `test` images, 32x32, of ten classes, in the official order.

    Files are verified by the official md5.

    Args:
        source: with `files`, `root` must contain `FashionMNIST/raw/*.gz`; with `hub`, they are
            downloaded there.
        root: the folder of real data.
        seed: not used.
        train: the number of training images, 10 to 60,000.
        test: the number of test images, 10 to 10,000.

    Raises:
        UserError: files are missing or damaged; the message names each.
    """
    folder, checksums = root / "FashionMNIST" / "raw", dict(FashionMNIST.resources)
    for name, md5 in checksums.items() if source == "hub" else ():
        if not files.complete(folder, {name: md5}):
            addresses = [f"{mirror}{name}" for mirror in FashionMNIST.mirrors]
            files.download("Fashion-MNIST", addresses, folder, md5)
    remedy = "Put the official files in FashionMNIST/raw/ of"
    contents = files.contents("Fashion-MNIST", folder, checksums, remedy)
    classes = tuple(FashionMNIST.classes)

    def split(name: str, size: int) -> Split:
        images, labels = (
            _array(contents[file], folder / file, dimensions)
            for file, dimensions in (
                (f"{name}-images-idx3-ubyte.gz", 3),
                (f"{name}-labels-idx1-ubyte.gz", 1),
            )
        )
        if not 0 < len(images) == len(labels) or labels.max() >= len(classes):
            raise UserError(f"{folder}, {name}: not as published (a label of a class to an image)")
        return Split(_resized(images[:size]), labels[:size].astype(np.int64))

    return ImageData(split("train", train), split("t10k", test), classes, checksums)


def _array(content: bytes, file: Path, dimensions: int) -> np.ndarray:
    """Return the bytes of a gzipped IDX file, in the shape given by its header."""
    try:
        raw = gzip.decompress(content)
        if raw[:4] != bytes([0, 0, 8, dimensions]):
            raise ValueError("another header")
        shape = np.frombuffer(raw, ">u4", count=dimensions, offset=4)
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"{file}: not as published ({error})") from None


def _resized(images: np.ndarray) -> np.ndarray:
    """Return grey images uint8 [n, height, width] as RGB [n, 32, 32, 3]."""
    resized = np.empty((len(images), SIDE, SIDE, 3), np.uint8)
    for image, pixels in zip(images, resized, strict=True):
        grey = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        pixels[:] = np.asarray(grey)[..., None]
    return resized
