"""The interface of cues: drawings on an image that indicate its class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np


class Cue(Protocol):
    """A cue for the images of one split, made by a file of `basins/data/cues/`.

    A code [n, ...] says which cue an image has; its meaning is specific to the cue.
    """

    @property
    def checksums(self) -> Mapping[str, str]:
        """The md5 of each file from which the cue was read."""
        ...

    def assign(self, labels: np.ndarray, num_classes: int) -> np.ndarray:
        """Return the codes for the labels [n] of the whole split, in order."""
        ...

    def randomise(self, generator: np.random.Generator, count: int, num_classes: int) -> np.ndarray:
        """Draw `count` codes independently of labels."""
        ...

    def draw(self, images: np.ndarray, codes: np.ndarray | None, num_classes: int) -> np.ndarray:
        """Return images uint8 [n, height, width, 3] with the cue of each code.

        With codes None, images have no cue. The given images are left unchanged.
        """
        ...
