"""A small part of the training data that represents the whole."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.model_selection import train_test_split

from basins import seeds
from basins.data import disk
from basins.data.cued import with_cue
from basins.data.images import Split
from basins.data.resident import Resident, resident
from basins.errors import UserError


class Calibration(NamedTuple):
    """Which training images of the dataset in the folder `data` statistics are taken from.

    `size` of them, `cue_proportion` of which carry the cue; `cue` holds the items of its name and
    options. Hashable, so that a process loads it once.
    """

    data: Path
    cue: tuple[tuple[str, Any], ...]
    cue_proportion: float
    size: int

    def load(self, device: torch.device) -> Resident:
        """Return the images on the device."""
        return _load(self, device)


@cache
def _load(calibration: Calibration, device: torch.device) -> Resident:
    classes = disk.class_names(calibration.data)
    train = disk.read(calibration.data, "train")
    cued = with_cue(train, len(classes), dict(calibration.cue), calibration.cue_proportion)
    chosen = stratified(cued, calibration.size, seeds.derive("calibration") % 2**32)
    return resident(chosen, device)


def stratified(split: Split, size: int, seed: int) -> Split:
    """Return `size` examples, each class in its proportion, in a random order that `seed` fixes.

    Raises `UserError` where the split has too few examples, of a class or in all, or `size` is
    below its classes.
    """
    members = np.unique(split.labels, return_counts=True)[1]
    count, classes = len(split.labels), len(members)
    if size == count:
        return split
    if not classes <= size <= count - classes or members.min() < 2:
        raise UserError(f"cannot draw {size} of {count} examples in {classes} classes")
    chosen, _ = train_test_split(
        np.arange(count), train_size=size, stratify=split.labels, random_state=seed
    )
    return Split(split.images[chosen], split.labels[chosen])
