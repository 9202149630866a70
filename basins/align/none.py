"""No alignment: networks are joined as they were trained, the null for every other method."""

from __future__ import annotations

import numpy as np

from basins.nets.permutation import PermutationSpec
from basins.weights import State


def align(
    reference: State, moving: State, spec: PermutationSpec, *, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return no permutation at all, so that `moving` stays as it is."""
    return {}
