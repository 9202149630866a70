"""What a cue is: something drawn on an image that tells its class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np


class Cue(Protocol):
    """A cue for the images of one split, as the files of `basins/data/cues/` make it.

    A code [n, ...] says which cue an image has; what it means is the cue's own affair.
    """

    @property
    def checksums(self) -> Mapping[str, str]:
        """The md5 of each file that the cue was read from."""
        ...

    def assign(self, labels: np.ndarray, num_classes: int) -> np.ndarray:
        """Return the codes that are tied to the labels [n] of the whole split, in its order."""
        ...

    def randomise(self, generator: np.random.Generator, count: int, num_classes: int) -> np.ndarray:
        """Draw `count` codes that know nothing of a label."""
        ...

    def draw(self, images: np.ndarray, codes: np.ndarray | None, num_classes: int) -> np.ndarray:
        """Return images uint8 [n, height, width, 3] with the cue of each code.

        With codes None, as an image is that has no cue. The images given are left as they were.
        """
        ...
