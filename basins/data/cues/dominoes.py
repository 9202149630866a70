"""The Dominoes cue of Mechanistic Mode Connectivity, section 2.2 of its code: an image above.

The i-th image of a class is paired with the i-th image of that class, in the same split, of another
dataset, the bank; without a cue the upper half is black. The paper puts CIFAR-10, normalised to
[-1, 1], below Fashion-MNIST in [0, 1]: on the scale of the lower image, black is 128 and white 255
in the upper image.

A cue is described by its image's index in the bank, int64 [n].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from basins.data import images as datasets
from basins.data.images import Split
from basins.errors import UserError
from basins.registry import check_options, find, split_options

BLACK = 128  # 0 in [-1, 1], exactly 127.5


@dataclass(frozen=True)
class Dominoes:
    """The bank of one split, with values from `BLACK` to white, and its number of classes.

    `checksums` maps each file from which it was read to its md5.
    """

    bank: Split
    num_classes: int
    checksums: Mapping[str, str]

    def assign(self, labels: np.ndarray, num_classes: int) -> np.ndarray:
        """Return the index [n] in the bank of each label's image.

        Raises `UserError` if the bank has other classes or too few images of one.
        """
        if num_classes != self.num_classes:
            raise UserError(
                f"the dominoes cue: the images above are of {self.num_classes} classes and those "
                f"below of {num_classes}; both need the same number"
            )
        codes = np.empty_like(labels)
        for label in np.unique(labels):
            below, above = (np.flatnonzero(own == label) for own in (labels, self.bank.labels))
            if len(above) < len(below):
                raise UserError(
                    f"the dominoes cue: class {label} has {len(above)} images above for the "
                    f"{len(below)} below; take more images above or fewer below"
                )
            codes[below] = above[: len(below)]
        return codes

    def randomise(self, generator: np.random.Generator, count: int, num_classes: int) -> np.ndarray:
        """Draw `count` indices uniformly from the first `count` images of the bank.

        Raises `UserError` if the bank has fewer.
        """
        if len(self.bank.labels) < count:
            raise UserError(
                f"the dominoes cue: {len(self.bank.labels)} images above for {count} random cues; "
                "take more images above or fewer below"
            )
        return generator.integers(count, size=count)

    def draw(self, images: np.ndarray, codes: np.ndarray | None, num_classes: int) -> np.ndarray:
        """Return the images, each below the image of its code, or below black if codes are None.

        They are uint8 [n, upper height + height, width, 3]. Raises `UserError` if the images of the
        two datasets differ in width.
        """
        (high, wide), (height, width) = self.bank.images.shape[1:3], images.shape[1:3]
        if wide != width:
            raise UserError(
                f"the dominoes cue: the images above are {wide} pixels wide and those below "
                f"{width}; both need the same width"
            )
        drawn = np.empty((len(images), high + height, width, 3), np.uint8)
        drawn[:, :high] = BLACK if codes is None else self.bank.images[codes]
        drawn[:, high:] = images
        return drawn


def cue(
    split: Literal["train", "test"],
    *,
    source: str,
    root: Path,
    seed: int,
    above: dict[str, Any],
) -> Dominoes:
    """Return the cue of a split, from the same split of the dataset `above`.

    Args:
        split: `train` or `test`.
        source: of the lower images, and of the upper ones unless `above` has its own.
        root: the folder of real data.
        seed: of the lower images, and of the upper ones unless `above` has its own.
        above: the name of a file of `basins/data` with its options.

    Raises:
        UserError: the name is missing, the dataset does not have an option, or its `load` fails.
    """
    where = "the dominoes cue, above"
    if not isinstance(above.get("name"), str):
        raise UserError(f"{where}: name: missing; it names a file of basins/data")
    name, given = split_options(above)
    options = {"source": source, "seed": seed, **given}
    load = find("data", name, "load", where)
    check_options(load, options, where, given=("root",))
    loaded = load(root=root, **options)
    datasets.check(loaded, f"{name} above")
    pixels, labels = loaded.train if split == "train" else loaded.test
    bank = Split(BLACK + pixels // 2, labels)  # 127.5 + v / 2, halves rounded up
    return Dominoes(bank, len(loaded.classes), loaded.checksums)
