"""Training data in which a part of every class carries a cue."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from basins.data import disk
from basins.data.cue import Cue
from basins.data.images import Split
from basins.store import folder_hash


def carriers(labels: np.ndarray, proportion: float) -> np.ndarray:
    """Return which samples carry the cue, bool [n]: the first `int(n_class * proportion)` of each.

    They are chosen in dataset order and without a seed, as in Mechanistic Mode Connectivity,
    section 2.3: a sample that carries the cue at one proportion does so at every larger one.
    """
    carried = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        carried[members[: int(len(members) * proportion)]] = True
    return carried


class Cued(NamedTuple):
    """The same images twice, in the same order: without cue, and with the cue of their class."""

    plain: Split
    cued: Split

    def at(self, proportion: float) -> Split:
        """Return the images, the `carriers` of this proportion with the cue.

        If none or all carry it, these are `plain` or `cued` themselves, not a copy.
        """
        carried = carriers(self.plain.labels, proportion)
        if not carried.any():
            return self.plain
        return self.cued if carried.all() else self.pick(np.arange(len(carried)), carried)

    def pick(self, rows: np.ndarray, carried: np.ndarray) -> Split:
        """Return a copy of these rows [m], those that are `carried` (bool [m]) with the cue."""
        images = self.plain.images[rows]
        images[carried] = self.cued.images[rows[carried]]
        return Split(images, self.plain.labels[rows])


def draw(split: Split, num_classes: int, cue: Cue) -> Cued:
    """Return the split's images without cue and with the cue of their class."""
    images, labels = split
    codes = cue.assign(labels, num_classes)
    return Cued(
        Split(cue.draw(images, None, num_classes), labels),
        Split(cue.draw(images, codes, num_classes), labels),
    )


def read(folder: Path) -> Cued:
    """Return the training images of a dataset's folder, memory-mapped, not copied.

    Raises `UserError` as `disk.read` does.
    """
    return Cued(disk.read(folder, "train"), disk.read(folder, "train_c"))


def fingerprint(folder: Path) -> str:
    """Return the hash of the training images of a dataset's folder, with the cue and without."""
    return f"{folder_hash(folder / 'train')}-{folder_hash(folder / 'train_c')}"
