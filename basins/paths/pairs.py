"""Which models of an experiment are joined, and at which points of a path."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import Literal

from basins.errors import UserError

Which = Literal["all", "between", "within", "seed", "ring"]


def pairs(starts: Sequence[Path], ends: Sequence[Path], which: Which) -> list[tuple[Path, Path]]:
    """Return the unordered pairs of models, a start first where a pair has one of each.

    Models are folders `.../seed<k>`. `all` joins every two models; `between` only a start with an
    end; `within` only those of one recipe, method or variant; `seed` only a start with the ends of
    its own seed. Raises `UserError` where that is none.
    """
    if which == "seed":
        found = [(a, b) for a, b in product(starts, ends) if a.name == b.name and a != b]
    elif which == "between" and starts != ends:
        found = list(product(starts, ends))
    elif which == "ring":
        models = list(dict.fromkeys([*starts, *ends]))
        found = list(pairwise([*models, *models[: len(models) > 2]]))
    else:
        found = list(combinations(dict.fromkeys([*starts, *ends]), 2))
    if which == "within":
        found = [(a, b) for a, b in found if a.parent == b.parent]
    if not found:
        joined = f"{starts[0].parent} and {ends[0].parent}"
        raise UserError(f"pairs: {which} leaves none of {joined}; choose other pairs or recipes")
    return found


def grid(points: int) -> tuple[float, ...]:
    """Return `points` equally spaced positions from exactly 0 to exactly 1."""
    return tuple(index / (points - 1) for index in range(points))
