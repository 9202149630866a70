"""No alignment: networks are joined as trained, the baseline for every other method."""

from __future__ import annotations

import numpy as np

from basins.nets.permutation import PermutationSpec
from basins.weights import State


def align(
    reference: State, moving: State, spec: PermutationSpec, *, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return no permutations, which leaves `moving` unchanged."""
    return {}
