"""Seven-segment digits, white on black: a second dataset that needs no download.

It replaces Fashion-MNIST, the upper images in the Dominoes of Mechanistic Mode Connectivity (arXiv
2211.08422): small networks learn it quickly and almost without error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from basins import seeds
from basins.data.images import ImageData, Split
from basins.data.shapes import PIXELS_AT_ONCE, box, cover, place, uniform

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# The centre and half side lengths of every segment, in the digit's own frame, y upwards.
SEGMENTS = {
    "a": (0, 0.8, 0.45, 0),
    "b": (0.45, 0.4, 0, 0.4),
    "c": (0.45, -0.4, 0, 0.4),
    "d": (0, -0.8, 0.45, 0),
    "e": (-0.45, -0.4, 0, 0.4),
    "f": (-0.45, 0.4, 0, 0.4),
    "g": (0, 0, 0.45, 0),
}
# The segments of each digit.
LIT = ["abcdef", "bc", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc", "abcdefg", "abcdfg"]


def draw(rng: np.random.Generator, labels: np.ndarray, size: int, noise: float) -> np.ndarray:
    """Return one image for each label, uint8 [n, size, size, 3]."""
    n = len(labels)
    x, y, scale = place(rng, n, size, radius=(0.55, 0.9), reach=0.15, turn=0.25, stretch=0.3)
    thickness = uniform(rng, 0.08, 0.2, n, 1, 1, 1)
    distance = np.full_like(x, np.inf)
    for segment, (middle_x, middle_y, width, height) in SEGMENTS.items():
        lit = np.array([segment in digit for digit in LIT])[labels, None, None, None]
        own = box(x - middle_x, y - middle_y, width + thickness, height + thickness)
        distance = np.where(lit, np.minimum(distance, own), distance)
    image = uniform(rng, 0.4, 1, n, 1, 1, 1) * cover(distance, scale)
    image += noise * rng.standard_normal(image.shape, np.float32)
    pixels = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    return pixels.transpose(0, 2, 3, 1).repeat(3, axis=3)


def load(
    *,
    source: Literal["synthetic"],
    root: Path,
    seed: int,
    train: Annotated[int, Field(ge=10)],
    test: Annotated[int, Field(ge=10)],
    size: Annotated[int, Field(ge=8)] = 32,
    noise: Annotated[float, Field(ge=0, le=1)] = 0.05,
) -> ImageData:
    """Draw `train` and `test` images of `size` x `size` pixels, each split from its own stream.

    Digits vary in position, size, slant, thickness and brightness.

    Args:
        source: `synthetic`.
        root: not read.
        seed: determines everything random.
        train: the number of training images, at least 10.
        test: the number of test images, at least 10.
        size: height and width in pixels, at least 8.
        noise: the standard deviation of each pixel, with white at 1; from 0 to 1.
    """

    def split(name: str, n: int) -> Split:
        rng = seeds.generator("glyphs", name, seed)
        labels = rng.permutation(np.arange(n) % len(CLASSES))
        images = np.empty((n, size, size, 3), np.uint8)
        step = max(1, PIXELS_AT_ONCE // size**2)
        for part in (slice(start, start + step) for start in range(0, n, step)):
            images[part] = draw(rng, labels[part], size, noise)
        return Split(images, labels)

    return ImageData(split("train", train), split("test", test), CLASSES, {})
