"""A user's own images: `<folder>/train/<class>/*` and `<folder>/test/<class>/*`.

CIFAR-100 as PNG files in one folder per class has this form, too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from PIL import Image
from pydantic import Field
from torchvision.datasets import ImageFolder

from basins.data.images import ImageData, Split
from basins.errors import UserError
from basins.store import folder_hash

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
COLOURS = {"RGB", "P", "CMYK", "YCbCr"}  # of at most eight bits; grey modes are `L` and `1`


def load(
    *,
    source: Literal["files"],
    root: Path,
    seed: int,
    folder: Name,
    size: Annotated[int, Field(ge=8, le=1024)] | None = None,
) -> ImageData:
    """Read `root/folder`, every image as RGB.

    Classes are the names of the folders in `train`, in alphabetical order. A line on stderr says
    how many images are grey among others in colour.

    Args:
        source: `files`.
        root: the folder of real data.
        seed: not used.
        folder: the name of a folder in `root`, of letters, digits, `_` and `-`.
        size: height and width in pixels, 8 to 1024, to which every image is resized (bilinear).
            Without it all images must have the same size.

    Raises:
        UserError: a folder is missing, the two splits have different classes, a class has no image,
            or a file is not an image, has transparency or more than eight bits per channel.
    """
    folders = {split: _open(root / folder / split) for split in ("train", "test")}
    train, test = folders["train"], folders["test"]
    if train.classes != test.classes:
        only = sorted(set(train.classes) ^ set(test.classes))
        raise UserError(f"{root / folder}: train and test differ in classes: {', '.join(only)}")
    files = [Path(path) for images in folders.values() for path, _ in images.samples]
    pixels, labels = read(files, size), np.array(train.targets + test.targets, dtype=np.int64)
    count = len(train)
    return ImageData(
        Split(pixels[:count], labels[:count]),
        Split(pixels[count:], labels[count:]),
        tuple(train.classes),
        {split: folder_hash(root / folder / split) for split in folders},
    )


def read(files: list[Path], size: int | None) -> np.ndarray:
    """Return images uint8 [n, height, width, 3] of files, resized to `size` x `size` if given.

    A line on stderr says how many are grey among others in colour. Raises `UserError` as `load`
    does, naming the file.
    """
    grey: list[Path] = []
    pixels = np.empty((0, 1, 1, 3), np.uint8)
    for index, path in enumerate(files):
        image = _image(path)
        if image.mode in ("L", "1"):
            grey.append(path)
        image = image.convert("RGB")
        if size is not None:
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        if not index:
            pixels = np.empty((len(files), image.height, image.width, 3), np.uint8)
        height, width = pixels.shape[1:3]
        if image.size != (width, height):
            raise UserError(
                f"{path}: {image.width} x {image.height} pixels, where {files[0]} has {width} x "
                f"{height}; give `size`, to which all are resized"
            )
        pixels[index] = np.asarray(image)
    if 0 < len(grey) < len(files):
        print(
            f"note: {len(grey)} of {len(files)} images are grey, the others in colour; the first: "
            f"{grey[0]}",
            file=sys.stderr,
        )
    return pixels


def _open(folder: Path) -> ImageFolder:
    try:
        return ImageFolder(str(folder))
    except FileNotFoundError as error:
        what = " ".join(str(error).split())
        raise UserError(f"{folder}: {what}; it must hold one folder of images a class") from None


def _image(path: Path) -> Image.Image:
    """Return the decoded image of a file; raises `UserError` if 8-bit RGB cannot represent it."""
    try:
        with Image.open(path) as image:
            image.load()
    except Exception as error:  # decoders may raise anything
        line = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: not a readable image ({line})") from None
    if image.mode.endswith(("A", "a")) or "transparency" in image.info:
        raise UserError(f"{path}: has transparency; put it on a background of one colour first")
    if image.mode not in COLOURS | {"L", "1"}:
        raise UserError(f"{path}: pixels of mode {image.mode}; save it with 8 bits a channel first")
    return image
