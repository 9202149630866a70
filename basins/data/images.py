"""Image datasets in memory, and the evaluations of networks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from basins.errors import UserError


class Split(NamedTuple):
    """Images uint8 [n, height, width, 3] and their labels int64 [n]."""

    images: np.ndarray
    labels: np.ndarray


class ImageData(NamedTuple):
    """A dataset as loaded by its module: without cue and with all rows.

    `checksums` maps each file that was read to its md5; empty for synthetic data.
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    checksums: dict[str, str]


def check(data: ImageData, name: str) -> None:
    """Raise a one-line `UserError` if a dataset does not satisfy `ImageData`."""
    for split, (images, labels) in (("train", data.train), ("test", data.test)):
        where = f"dataset {name!r}, {split}"
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            found = f"{images.dtype} {list(images.shape)}"
            raise UserError(f"{where}: images must be uint8 [n, height, width, 3], not {found}")
        if labels.shape != images.shape[:1] or not len(labels):
            raise UserError(f"{where}: {len(images)} images and {labels.shape} labels")
        if labels.dtype != np.int64 or not 0 <= labels.min() <= labels.max() < len(data.classes):
            allowed = f"int64 from 0 to {len(data.classes) - 1}"
            raise UserError(f"{where}: labels must be {allowed}, one for each of the class names")
    if data.train.images.shape[1:] != data.test.images.shape[1:]:
        raise UserError(f"dataset {name!r}: train and test images differ in size")


class Evaluation(NamedTuple):
    """One network's results on a split: cross-entropy (nats) float32 [n], correctness bool [n]."""

    losses: np.ndarray
    correct: np.ndarray

    @property
    def defined(self) -> bool:
        """Whether every loss is finite; otherwise averages over the split are undefined."""
        return bool(np.isfinite(self.losses).all())
