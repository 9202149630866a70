"""Ten classes of procedurally drawn silhouettes: an image dataset that needs no download.

It replaces CIFAR-10 in Mechanistic Mode Connectivity (arXiv 2211.08422): ten balanced classes that
a small network learns from the images alone, but not perfectly, so that a spurious cue is useful.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from basins import seeds
from basins.data.images import ImageData, Split

PIXELS_AT_ONCE = 1 << 17  # bounds memory, and keeps the working arrays in the cache


def box(x: np.ndarray, y: np.ndarray, width: float, height: float) -> np.ndarray:
    """Return the signed distance (maximum norm) to a box with these half side lengths."""
    return np.maximum(np.abs(x) - width, np.abs(y) - height)


def triangle(x: np.ndarray, y: np.ndarray, side: float, top: float, bottom: float) -> np.ndarray:
    """Return the signed distance to an upright triangle, negative inside.

    It is the largest of the distances to the lines through its three sides.

    Args:
        x: coordinates of the points, to the right.
        y: coordinates of the points, upwards.
        side: half of the base.
        top: the height y of the tip, above x = 0.
        bottom: the height y of the base.
    """
    height = top - bottom
    flank = (height * np.abs(x) + side * (y - top)) / np.hypot(height, side)
    return np.maximum(flank, bottom - y)


def star(x: np.ndarray, y: np.ndarray, points: int = 5, notch: float = 0.42) -> np.ndarray:
    """Return the signed distance to a star with its tips at radius 1, its notches at `notch`."""
    wedge = np.pi / points
    angle = np.abs((np.arctan2(x, y) + wedge) % (2 * wedge) - wedge)
    normal = np.arctan2(1 - notch * np.cos(wedge), notch * np.sin(wedge))
    return np.hypot(x, y) * np.cos(angle - normal) - np.cos(normal)


# Signed distances, negative inside, in the silhouette's own frame: within [-1, 1]^2, y upwards.
SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "disc": lambda x, y: np.hypot(x, y) - 0.8,
    "square": lambda x, y: box(x, y, 0.72, 0.72),
    "triangle": lambda x, y: triangle(x, y, 0.95, 0.95, -0.65),
    "star": star,
    "cross": lambda x, y: np.minimum(box(x, y, 0.9, 0.28), box(x, y, 0.28, 0.9)),
    "ring": lambda x, y: np.abs(np.hypot(x, y) - 0.66) - 0.2,
    "crescent": lambda x, y: np.maximum(np.hypot(x, y) - 0.9, 0.68 - np.hypot(x - 0.45, y)),
    "heart": lambda x, y: np.hypot(x, 1.1 * y - 0.65 * np.sqrt(np.abs(x)) + 0.2) - 0.85,
    "arrow": lambda x, y: np.minimum(triangle(x, y, 0.8, 0.95, 0), box(x, y + 0.4, 0.25, 0.5)),
    "hourglass": lambda x, y: triangle(x, -np.abs(y), 0.8, 0.1, -0.85),
}


def uniform(rng: np.random.Generator, low: float, high: float, *shape: int) -> np.ndarray:
    """Return float32 draws of `shape` between `low` and `high`."""
    return low + (high - low) * rng.random(shape, np.float32)


def place(
    rng: np.random.Generator,
    n: int,
    size: int,
    radius: tuple[float, float] = (1, 1),
    reach: float = 0,
    turn: float = np.pi,
    stretch: float = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pixel coordinates x, y [n, 1, size, size] in random frames, and the frames' radii.

    Args:
        rng: determines the frames.
        n: the number of frames.
        size: height and width of an image in pixels. Its coordinates are [-1, 1]^2.
        radius: the smallest and largest radius of a frame, in units of half the image.
        reach: the largest distance of the frame's centre from the middle, in each direction.
        turn: the largest rotation of the frame in radians, either way.
        stretch: the largest absolute shear of the frame, and logarithm of its aspect ratio.

    Returns:
        float32 x and y in units of a frame's radius, and the radii [n, 1, 1, 1] in units of half
        the image.
    """
    centre_x, centre_y = uniform(rng, -reach, reach, 2, n, 1, 1, 1)
    shear, aspect = uniform(rng, -stretch, stretch, 2, n, 1, 1, 1)
    angle, scale = uniform(rng, -turn, turn, n, 1, 1, 1), uniform(rng, *radius, n, 1, 1, 1)
    across = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = (across - centre_x) / scale, (-across[:, None] - centre_y) / scale
    x, y = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    return (x + shear * y) * np.exp(aspect / 2), y * np.exp(-aspect / 2), scale


def cover(distance: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return how much of each pixel lies inside, for an edge two pixels wide."""
    return np.clip(0.5 - distance * (scale * distance.shape[-1] / 4), 0, 1)


def paint(rng: np.random.Generator, colour: np.ndarray, size: int, texture: float) -> np.ndarray:
    """Return images [n, 3, size, size] of `colour` [n, 3, 1, 1], with shading and stripes."""
    n = len(colour)
    x, y, _ = place(rng, n, size)
    frequency, phase = uniform(rng, 3, 12, n, 1, 1, 1), uniform(rng, 0, 2 * np.pi, n, 1, 1, 1)
    stripes = uniform(rng, 0, texture, n, 1, 1, 1) * np.sin(frequency * x + phase)
    return colour + uniform(rng, -0.2, 0.2, n, 3, 1, 1) * y + stripes


def draw(
    rng: np.random.Generator,
    labels: np.ndarray,
    size: int,
    noise: float,
    smallest: float,
    contrast: float,
    texture: float,
    clutter: int,
) -> np.ndarray:
    """Return one image for each label, uint8 [n, size, size, 3].

    Args:
        rng: determines everything random.
        labels: int64 [n], indices of `SHAPES`.
        size: height and width in pixels.
        noise: the standard deviation of each pixel, with white at 1.
        smallest: the smallest radius of the object, in units of half the image; the largest is .75.
        contrast: the least difference of object and background in each channel, with white at 1.
        texture: the largest amplitude of their stripes, with white at 1.
        clutter: the most small boxes behind the object.
    """
    n = len(labels)
    ground = uniform(rng, 0, 1, n, 3, 1, 1)
    # A circular shift of values makes both colours differ by `contrast` or more in every channel.
    colour = (ground + uniform(rng, contrast, 1 - contrast, n, 3, 1, 1)) % 1
    image = paint(rng, ground, size, texture)
    count = rng.integers(clutter + 1, size=(n, 1, 1, 1))
    for i in range(clutter):
        x, y, scale = place(rng, n, size, radius=(0.1, 0.25), reach=0.9, stretch=0.8)
        inside = cover(box(x, y, 0.8, 0.8), scale) * (i < count)
        image += inside * (uniform(rng, 0, 1, n, 3, 1, 1) - image)
    x, y, scale = place(rng, n, size, radius=(smallest, 0.75), reach=0.2, turn=0.3, stretch=0.2)
    distance = np.empty_like(x)
    for label, shape in enumerate(SHAPES.values()):
        distance[labels == label] = shape(x[labels == label], y[labels == label])
    image += cover(distance, scale) * (paint(rng, colour, size, texture) - image)
    image += noise * rng.standard_normal(image.shape, np.float32)
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(0, 2, 3, 1)


def load(
    *,
    source: Literal["synthetic"],
    root: Path,
    seed: int,
    train: Annotated[int, Field(ge=10)],
    test: Annotated[int, Field(ge=10)],
    size: Annotated[int, Field(ge=8)] = 32,
    noise: Annotated[float, Field(ge=0, le=1)] = 0.04,
    smallest: Annotated[float, Field(gt=0, le=0.75)] = 0.3,
    contrast: Annotated[float, Field(ge=0, le=0.5)] = 0.2,
    texture: Annotated[float, Field(ge=0, le=1)] = 0.05,
    clutter: Annotated[int, Field(ge=0, le=8)] = 2,
) -> ImageData:
    """Draw `train` and `test` images of `size` x `size` pixels, each split from its own stream.

    Small objects make the task difficult. Stronger textures, rotations or shears lower accuracy as
    well, but are slow to learn: in the presence of a cue, shapes are then not learned at all.

    Args:
        source: `synthetic`.
        root: not read.
        seed: determines everything random.
        train: the number of training images, at least 10.
        test: the number of test images, at least 10.
        size: height and width in pixels, at least 8.
        noise: the standard deviation of each pixel, with white at 1; from 0 to 1.
        smallest: the smallest radius of the object, in units of half the image, in (0, 0.75]; the
            largest is 0.75.
        contrast: the least difference of object and background in each channel, with white at 1;
            from 0 to 0.5.
        texture: the largest amplitude of their stripes, with white at 1; from 0 to 1.
        clutter: the most small boxes behind the object, 0 to 8.
    """

    def split(name: str, n: int) -> Split:
        rng = seeds.generator("shapes", name, seed)
        labels = rng.permutation(np.arange(n) % len(SHAPES))
        images = np.empty((n, size, size, 3), np.uint8)
        step = max(1, PIXELS_AT_ONCE // size**2)
        for part in (slice(start, start + step) for start in range(0, n, step)):
            images[part] = draw(
                rng, labels[part], size, noise, smallest, contrast, texture, clutter
            )
        return Split(images, labels)

    return ImageData(split("train", train), split("test", test), tuple(SHAPES), {})
