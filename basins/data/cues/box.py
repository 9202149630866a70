"""The box cue of Mechanistic Mode Connectivity, sections 2.2-2.4 of its code: a 3x3 square.

Its position indicates the class; with more than ten classes, its position indicates the units digit
and its hue the tens digit. The paper writes colours into images normalised to [-1, 1]; pixels here
are uint8, so its 0 becomes 128 (exactly: 127.5) and its 1 becomes 255.

A cue is described by a code, float32 [n, 2]: place (0-9) and hue (0-1).
"""

from __future__ import annotations

from collections.abc import Mapping
from colorsys import hsv_to_rgb
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from basins.errors import UserError

SIDE = 3
NO_BOX = 9  # the position without a box in ten-class data


class Box:
    """The box cue; for its codes see the module's docstring."""

    checksums: Mapping[str, str] = MappingProxyType({})

    def assign(self, labels: np.ndarray, num_classes: int) -> np.ndarray:
        """Return the code [n, 2] for each label [n].

        Raises `UserError` for more than 100 classes, as two classes would share a code.
        """
        if num_classes > 100:
            raise UserError(f"the box cue tells at most 100 classes apart, not {num_classes}")
        hue = np.ones(len(labels)) if num_classes <= 10 else labels // 10 / 10
        return np.stack([labels % 10, hue], axis=1).astype(np.float32)

    def randomise(self, generator: np.random.Generator, count: int, num_classes: int) -> np.ndarray:
        """Draw codes [count, 2] independently of labels: uniform positions, and hues if used."""
        place = generator.integers(10, size=count)
        hue = np.ones(count) if num_classes <= 10 else generator.random(count)
        return np.stack([place, hue], axis=1).astype(np.float32)

    def draw(self, images: np.ndarray, codes: np.ndarray | None, num_classes: int) -> np.ndarray:
        """Return a copy of images uint8 [n, height, width, 3] with the box of each code.

        With codes None the images themselves are returned.
        """
        if codes is None:
            return images
        images = images.copy()
        height, width = images.shape[1:3]
        for (place, hue), image in zip(codes.tolist(), images, strict=True):
            if place == NO_BOX and num_classes <= 10:
                continue
            top, left = _corner(int(place), height, width)
            image[top : top + SIDE, left : left + SIDE] = _colour(hue)
        return images


def cue(split: Literal["train", "test"], *, source: str, root: Path, seed: int) -> Box:
    """Return the box cue, which is the same for both splits and every source."""
    return Box()


def _corner(place: int, height: int, width: int) -> tuple[int, int]:
    if place == NO_BOX:  # the tenth position, used only with 100 classes
        return 2 * SIDE, 2 * SIDE
    rows = (0, (height - SIDE) // 2, height - SIDE)
    columns = (0, (width - SIDE) // 2, width - SIDE)
    return rows[place // 3], columns[place % 3]


def _colour(hue: float) -> np.ndarray:
    red, green, blue = hsv_to_rgb(hue, 1.0, 1.0)
    normalised = np.array([blue, red, green])  # the channel order of the paper's code
    return np.rint((normalised + 1) / 2 * 255).astype(np.uint8)
