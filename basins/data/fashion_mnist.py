"""Fashion-MNIST (Xiao et al. 2017), from its official files, at the size of CIFAR-10.

As in Mechanistic Mode Connectivity, section 2.1 of its code: RGB, 32x32 by PIL's bilinear filter.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from PIL import Image
from pydantic import Field
from torchvision.datasets import FashionMNIST

from basins.data.files import download, verify
from basins.data.images import ImageData, Split

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

    With `files`, `root` must hold `FashionMNIST/raw/*.gz`; with `hub`, torchvision downloads them
    there. Nothing is read before its md5 is the official one. Nothing is random, so `seed` is not
    used. Raises `UserError` naming each file that is missing or damaged.
    """
    if source == "hub":
        download(FashionMNIST, "Fashion-MNIST", root)
    folder, checksums = root / "FashionMNIST" / "raw", dict(FashionMNIST.resources)
    verify("Fashion-MNIST", folder, checksums, "Put the official files in FashionMNIST/raw/ of")

    def split(name: str, size: int) -> Split:
        images = _read(folder / f"{name}-images-idx3-ubyte.gz")[:size]
        labels = _read(folder / f"{name}-labels-idx1-ubyte.gz")[:size]
        return Split(_resized(images), labels.astype(np.int64))

    return ImageData(
        split("train", train), split("t10k", test), tuple(FashionMNIST.classes), checksums
    )


def _read(file: Path) -> np.ndarray:
    """Return the bytes of a gzipped IDX file, in the shape that its header gives."""
    content = gzip.decompress(file.read_bytes())
    dimensions = content[3]
    shape = np.frombuffer(content, ">i4", count=dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _resized(images: np.ndarray) -> np.ndarray:
    """Return grey images uint8 [n, height, width] as RGB [n, 32, 32, 3]."""
    resized = np.empty((len(images), SIDE, SIDE, 3), np.uint8)
    for image, pixels in zip(images, resized, strict=True):
        grey = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        pixels[:] = np.asarray(grey)[..., None]
    return resized
