"""What fine-tuning works with: a few images without the cue, and many with it.

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
        size: how many clean images are drawn.
        cue_proportion: the share of each class, from 0 to 1, that carries the cue where images with
            the cue are returned (`cued.carriers`).
        protocol: with `corrected` each class of the clean images is in its proportion, and the
            images with the cue are all others, in their order; the cue is on the `carriers` among
            them. With `published` both are drawn with replacement from all images, as the paper's
            code does, so that they overlap and many images are in neither; `carriers` are then
            those of the whole.
        seed: decides what is drawn.

    Raises:
        UserError: where `size` is below the number of classes or leaves fewer others than that.
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
