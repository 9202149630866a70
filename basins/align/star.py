"""Weight matching of many networks to one of them: one matching per network instead of per pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from basins.align import weight_matching
from basins.align.permute import identity
from basins.nets.permutation import PermutationSpec
from basins.weights import State


def align_all(
    states: Sequence[State],
    spec: PermutationSpec,
    *,
    generator: np.random.Generator,
    restarts: Annotated[int, Field(ge=1)] = 5,
) -> list[dict[str, np.ndarray]]:
    """Return, for each network, the permutations that bring its weights closest to the first's.

    Networks a and b are compared as `permute(a, pa)` and `permute(b, pb)`. The centre is simply the
    first network: distances before matching do not show which network is close to all others after
    it, and distances after it require the matchings of all pairs. Two networks other than the
    centre are matched less well than by a matching of their own; `universe` prefers no network.
    """
    first, *others = states
    matched = (
        weight_matching.align(first, other, spec, generator=generator, restarts=restarts)
        for other in others
    )
    return [identity(first, spec), *matched]
