"""Waterbirds (Sagawa et al. 2020), from its official folder: waterbirds and landbirds.

The images are birds of CUB on a background, the cue, that matches their class in 95 % of the
training images.
"""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from basins.data import image_folder
from basins.data.images import ImageData, Split
from basins.data.natural import Attributed
from basins.errors import UserError

CLASSES = ("landbird", "waterbird")
TRAIN, TEST = "0", "2"
VALUES = {"y": ("0", "1"), "place": ("0", "1"), "split": (TRAIN, "1", TEST)}


def load(
    *,
    source: Literal["files"],
    root: Path,
    seed: int,
    folder: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = (
        "waterbird_complete95_forest2water2"
    ),
    size: Annotated[int, Field(ge=8, le=1024)] = 64,
) -> Attributed:
    """Return the images of splits 0 (training) and 2 (test), and their backgrounds: 1 is water.

    The validation split is left out.

    Args:
        source: `files`: `root/folder` contains `metadata.csv` and the images that it lists.
        root: the folder of real data.
        seed: not used.
        folder: the name of the official folder.
        size: height and width in pixels, 8 to 1024, to which every image is resized (bilinear).

    Raises:
        UserError: the file is missing or not as published, or an image is not readable.
    """
    file = root / folder / "metadata.csv"
    try:
        content = file.read_bytes()
    except OSError as error:
        said = f"{file}: not readable ({error.strerror}); unpack the official archive into {root}"
        raise UserError(said) from None
    rows = _rows(content, file)

    def split(number: str) -> tuple[Split, np.ndarray]:
        mine = [row for row in rows if row["split"] == number]
        images = image_folder.read([root / folder / row["img_filename"] for row in mine], size)
        labels, places = (np.array([int(row[k]) for row in mine], np.int64) for k in ("y", "place"))
        return Split(images, labels), places

    (train, train_places), (test, test_places) = split(TRAIN), split(TEST)
    checksums = {file.name: hashlib.md5(content).hexdigest()}
    return Attributed(ImageData(train, test, CLASSES, checksums), train_places, test_places)


def _rows(content: bytes, file: Path) -> list[dict[str, str]]:
    """Return the rows of `metadata.csv` after checking their values."""
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: not readable ({error})") from None
    lacking = [name for name in ("img_filename", *VALUES) if not rows or name not in rows[0]]
    if lacking:
        raise UserError(f"{file}: not as published (no {', '.join(lacking)} in it)")
    for number, row in enumerate(rows, 2):
        for name, values in VALUES.items():
            if row[name] not in values:
                raise UserError(
                    f"{file}, line {number}: {name} is {row[name]!r:.40}, none of "
                    f"{', '.join(values)}"
                )
        path = PurePosixPath(row["img_filename"] or "/")
        if path.is_absolute() or ".." in path.parts:
            raise UserError(f"{file}, line {number}: {str(path)!r:.80} is no image of this folder")
    if lacking := {TRAIN, TEST} - {row["split"] for row in rows}:
        raise UserError(f"{file}: not as published (no row of split {min(lacking)})")
    return rows
