"""Images whose cue is a natural attribute, such as the background of a bird.

Nothing is drawn on them, so no image exists with and without its cue. Instead of a counterfactual
image, a set has another image of the same class (or, in `ri`, of another) with the required
attribute. The i-th value of the attribute is the cue of the i-th class.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from basins import seeds
from basins.data.images import ImageData, Split
from basins.errors import UserError


class Attributed(NamedTuple):
    """A dataset, and the attribute of each image, int64 [n], with as many values as classes."""

    data: ImageData
    train: np.ndarray
    test: np.ndarray


def splits(given: Attributed, name: str, seed: int) -> dict[str, Split]:
    """Return the training images without and with their cue, and the four counterfactual sets.

    | set | class | attribute |
    |---|---|---|
    | `train_c`, `c` | its own | its class's: the images that have it |
    | `train`, `nc` | its own | every value equally often |
    | `rc` | its own | drawn at random |
    | `ri` | any other | that of the label |

    All have as many images of a label as have its class's attribute, in their order. Smaller groups
    are repeated. `nc` and `rc` have the same distribution.

    Args:
        given: the images and their attributes.
        name: the dataset's name in error messages.
        seed: of the draws.

    Raises:
        UserError: a class has no image with some attribute.
    """
    data, count = given.data, len(given.data.classes)
    train = _Groups(data.train, given.train, data.classes, f"dataset {name!r}, train")
    test = _Groups(data.test, given.test, data.classes, f"dataset {name!r}, test")
    stream = seeds.generator("counterfactual_image", seed)
    labels = test.targets
    random = stream.integers(count, size=len(labels))
    other = (labels + stream.integers(1, count, size=len(labels))) % count
    return {
        "train": train.pick(train.targets, train.in_turn(), stream),
        "train_c": train.aligned,
        "nc": test.pick(labels, test.in_turn(), stream),
        "c": test.aligned,
        "rc": test.pick(labels, random, stream),
        "ri": test.pick(other, labels, stream),
    }


class _Groups:
    """The images of a split by class and attribute.

    `aligned` are those with their class's attribute, and `targets` [n] the classes of these.
    """

    def __init__(
        self, split: Split, attributes: np.ndarray, classes: tuple[str, ...], where: str
    ) -> None:
        self.images, labels = split
        kinds = range(len(classes))
        self.rows = {
            (label, value): np.flatnonzero((labels == label) & (attributes == value))
            for label in kinds
            for value in kinds
        }
        for (label, value), rows in self.rows.items():
            if not len(rows):
                raise UserError(f"{where}: no {classes[label]} has the attribute {value}")
        same = np.flatnonzero(labels == attributes)
        self.targets, self.kinds = labels[same], kinds
        self.aligned = Split(self.images[same], self.targets)

    def in_turn(self) -> np.ndarray:
        """Return attributes [n] that cycle through all values within each class."""
        values = np.empty_like(self.targets)
        for label in self.kinds:
            at = np.flatnonzero(self.targets == label)
            values[at] = np.arange(len(at)) % len(self.kinds)
        return values

    def pick(
        self, classes: np.ndarray, attributes: np.ndarray, stream: np.random.Generator
    ) -> Split:
        """Return an image for each class [n] and attribute [n], labelled by the targets."""
        picked = np.empty_like(self.targets)
        for (label, value), rows in self.rows.items():
            at = np.flatnonzero((classes == label) & (attributes == value))
            picked[at] = np.resize(stream.permutation(rows), len(at))
        return Split(self.images[picked], self.targets)
