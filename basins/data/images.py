"""What an image dataset is in memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Split(NamedTuple):
    """Images uint8 [n, height, width, 3] and their labels int64 [n]."""

    images: np.ndarray
    labels: np.ndarray


class ImageData(NamedTuple):
    """A dataset as its module loads it: before any cue, nothing held out.

    `checksums` maps each file that was read to its md5; empty for synthetic data.
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    checksums: dict[str, str]
