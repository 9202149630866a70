"""Images of your own: `<folder>/train/<class>/*` and `<folder>/test/<class>/*`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from PIL import Image
from pydantic import Field
from torchvision.datasets import ImageFolder

from basins.data.images import ImageData, Split
from basins.errors import UserError
from basins.store import folder_hash


def load(
    *,
    source: Literal["files"],
    root: Path,
    seed: int,
    folder: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")],
    size: Annotated[int, Field(ge=8, le=1024)] = 32,
) -> ImageData:
    """Read `root/folder`, every image as RGB and resized to `size` x `size` pixels (bilinear).

    Classes are the names of the folders in `train`, in alphabetical order.

    Args:
        source: `files`.
        root: the folder of real data.
        seed: not used, since nothing is random.
        folder: the name of a folder in `root`, of letters, digits, `_` and `-`.
        size: height and width in pixels, 8 to 1024.

    Raises:
        UserError: where a folder is missing, the two splits have different classes, or a file is
            not an image.
    """
    folders = {split: _open(root / folder / split) for split in ("train", "test")}
    train, test = folders["train"], folders["test"]
    if train.classes != test.classes:
        only = sorted(set(train.classes) ^ set(test.classes))
        raise UserError(f"{root / folder}: train and test differ in classes: {', '.join(only)}")
    return ImageData(
        _pixels(train, size),
        _pixels(test, size),
        tuple(train.classes),
        {split: folder_hash(root / folder / split) for split in folders},
    )


def _open(folder: Path) -> ImageFolder:
    try:
        return ImageFolder(str(folder))
    except FileNotFoundError as error:
        what = " ".join(str(error).split())
        raise UserError(f"{folder}: {what}; it must hold one folder of images a class") from None


def _pixels(images: ImageFolder, size: int) -> Split:
    pixels = np.empty((len(images), size, size, 3), dtype=np.uint8)
    for index, (path, _) in enumerate(images.samples):
        try:
            with Image.open(path) as image:
                resized = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        except Exception as error:  # each format's decoder has its own, for whatever it finds
            line = " ".join(str(error).split())[:120]
            raise UserError(f"{path}: not a readable image ({line})") from None
        pixels[index] = np.asarray(resized)
    return Split(pixels, np.array(images.targets, dtype=np.int64))
