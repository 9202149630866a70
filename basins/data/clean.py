"""The images for fine-tuning: few without the cue, and many with it.

Mechanistic Mode Connectivity (arXiv 2211.08422), section 5: 2500 clean images and 47500 with cue.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from basins import seeds
from basins.data.cued import Cued, carriers
from basins.data.images import Split
from basins.data.sampling import stratified
from basins.errors import UserError


def draw(
    data: Cued,
    size: int,
    cue_proportion: float,
    protocol: Literal["published", "corrected"],
    seed: int,
) -> tuple[Split, Split]:
    """Return `size` clean images and, out of n training images, n - `size` with the cue.

    Args:
        data: the n training images, without the cue and with it.
        size: the number of clean images.
        cue_proportion: the share of each class, from 0 to 1, that carries the cue in the images
            with the cue (`cued.carriers`).
        protocol: with `corrected`, clean images are stratified by class, and the images with the
            cue are all others, in order, where the cue is on the `carriers` among them. With
            `published`, both are drawn with replacement from all images, as in the paper's code, so
            they overlap and many images are in neither; `carriers` are then those of all images.
        seed: determines the draws.

    Raises:
        UserError: `size`, or the number of other images, is below the number of classes.
    """
    labels = data.plain.labels
    count, classes = len(labels), len(np.unique(labels))
    if not classes <= size <= count - classes:
        raise UserError(
            f"{size} clean images cannot be drawn from {count} training images in {classes} "
            f"classes; `clean` must be {classes} to {count - classes}"
        )
    if protocol == "published":
        rng = seeds.generator("clean", seed)
        chosen, others = rng.integers(count, size=size), rng.integers(count, size=count - size)
        carried = carriers(labels, cue_proportion)[others]
    else:
        chosen = stratified(labels, size, seeds.derive("clean", seed) % 2**32)
        others = np.delete(np.arange(count), chosen)
        carried = carriers(labels[others], cue_proportion)
    clean = Split(data.plain.images[chosen], labels[chosen])
    return clean, data.pick(others, carried)
