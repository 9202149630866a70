"""A user's images as arrays of pixels of one size."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset, Image

from basins.checkpoints import columns
from basins.checkpoints.models import Models
from basins.checkpoints.states import short
from basins.data import disk
from basins.errors import UserError

COLUMNS = ("image", "img")


def images(data: Path | str, name: str, split: Dataset, where: str, models: Models) -> np.ndarray:
    """Return images of one size as uint8 [n, height, width, channels].

    If a Hugging Face folder has an image processor, they are resized and cropped by it.
    """
    column = next((name for name in COLUMNS if name in split.features), None)
    if column is None:
        raise UserError(f"{where}: no column `image`, but {', '.join(split.column_names)}")
    sized = models.sized()
    if (
        sized is None
        and column == "image"
        and pa.types.is_fixed_size_list(split.data.column(column).type)
    ):
        return disk.read(Path(data), name).images  # this project's format, memory-mapped
    pictures = _decoded(split, column, where)
    pictures = pictures if sized is None else sized(pictures, where)
    if len({picture.shape for picture in pictures}) > 1:
        raise UserError(f"{where}: images of several sizes; resize them to one")
    images = np.stack(pictures)
    images = images[..., None] if images.ndim == 3 else images
    whole = images.dtype.kind in "iu" and images.min() >= 0 and images.max() <= 255
    if not whole or images.ndim != 4 or images.shape[3] not in (1, 3, 4):
        raise UserError(
            f"{where}: images must be [n, height, width, channels] of integers from 0 to 255, "
            f"not {images.dtype} {list(images.shape)}"
        )
    return images.astype(np.uint8)


def _decoded(split: Dataset, column: str, where: str) -> list[np.ndarray]:
    """Return decoded images; if some are grey and others coloured, all are converted to RGB.

    Only the first of several frames is read. Raises `UserError` if one is not readable or has more
    than 8 bits per value, or only some have transparency.
    """
    if not isinstance(split.features[column], Image):
        stacked = columns.stacked(split.with_format("arrow")[:][column])
        return [*(split.with_format("numpy")[column] if stacked is None else stacked)]
    alone, found, moving = split.select_columns([column]), [], 0
    for row in range(len(split)):
        try:
            picture = alone[row][column]
            moving += getattr(picture, "is_animated", False)
            if picture.mode[0] in "IF":
                raise ValueError(f"its mode is {picture.mode}; save it with 8 bits to a number")
            if picture.mode not in ("L", "RGB", "RGBA"):  # for example, palettes
                colours = "RGBA" if picture.has_transparency_data else "RGB"
                picture = picture.convert("L" if picture.mode == "1" else colours)
            found.append(picture)
        except Exception as error:  # Pillow may raise anything for a user's files
            raise UserError(f"{where}: image {row} is not readable ({short(error)})") from None
    if moving:
        line = f"{moving} of {len(found)} images have several frames, and the first is read"
        warnings.warn(f"{where}: {line}", stacklevel=2)
    modes = [picture.mode for picture in found]
    if len({*modes}) > 1:
        if {*modes} != {"L", "RGB"}:
            raise UserError(f"{where}: images of the modes {', '.join(sorted({*modes}))}; take one")
        grey = f"{modes.count('L')} of {len(modes)} images are grey, and read as RGB"
        warnings.warn(f"{where}: {grey}", stacklevel=2)
        found = [picture.convert("RGB") for picture in found]
    return [np.asarray(picture) for picture in found]
