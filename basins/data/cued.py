"""Training data in which a part of every class carries a cue."""

from __future__ import annotations

from typing import Any

import numpy as np

from basins.data.images import Split
from basins.registry import module, split_options


def carriers(labels: np.ndarray, proportion: float) -> np.ndarray:
    """Return which samples carry the cue: bool [n], the first `int(n_class * proportion)` of each.

    In dataset order and without a seed, as in Mechanistic Mode Connectivity, section 2.3: a sample
    that carries the cue at one proportion does so at every larger one.
    """
    carried = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        carried[members[: int(len(members) * proportion)]] = True
    return carried


def with_cue(split: Split, num_classes: int, cue: dict[str, Any], proportion: float) -> Split:
    """Return the split with its own class's cue drawn on the `carriers` at this proportion.

    `cue` is the cue's name with its options.
    """
    carried = carriers(split.labels, proportion)
    if not carried.any():
        return split
    name, options = split_options(cue)
    kind = module("data.cues", name, "draw")
    codes = kind.assign(split.labels[carried], num_classes)
    images = split.images.copy()
    images[carried] = kind.draw(split.images[carried], codes, num_classes, **options)
    return Split(images, split.labels)
