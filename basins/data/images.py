"""What an image dataset is in memory, and what a network makes of it."""

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


class Evaluation(NamedTuple):
    """What one network made of a split: cross-entropy (nats) float32 [n], correctness bool [n]."""

    losses: np.ndarray
    correct: np.ndarray
