"""Which models of an experiment are joined, and at which points of a path."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import combinations, product
from typing import Literal, TypeVar

Model = TypeVar("Model", bound=Hashable)


def pairs(
    starts: Sequence[Model], ends: Sequence[Model], which: Literal["all", "between"]
) -> list[tuple[Model, Model]]:
    """Return the unordered pairs of models, a start first where a pair has one of each.

    `all` joins every two models; `between` only a start with an end.
    """
    if which == "between" and starts != ends:
        return list(product(starts, ends))
    return list(combinations(dict.fromkeys([*starts, *ends]), 2))


def grid(points: int) -> tuple[float, ...]:
    """Return `points` equally spaced positions from exactly 0 to exactly 1."""
    return tuple(index / (points - 1) for index in range(points))
