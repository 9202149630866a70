"""The pairs of models of an experiment, and the points of the curves that connect them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import Any, Literal

from basins.errors import UserError
from basins.nets.control import Control
from basins.paths.plan import Curve
from basins.registry import find, module, split_options

Which = Literal["all", "between", "within", "seed", "ring"]


def pairs(starts: Sequence[Path], ends: Sequence[Path], which: Which) -> list[tuple[Path, Path]]:
    """Return the unordered pairs of models; if one is a start and one an end, the start is first.

    Models are folders `.../seed<k>`. `all` means all pairs; `between` only pairs of a start and an
    end; `within` only those of the same recipe, method or variant; `seed` only a start and an end
    with the same seed; `ring` each model with the next, and the last with the first. Raises
    `UserError` if there are no pairs.
    """
    if which == "seed":
        found = [(a, b) for a, b in product(starts, ends) if a.name == b.name]
    elif which == "between" and starts != ends:
        found = list(product(starts, ends))
    elif which == "ring":
        models = list(dict.fromkeys([*starts, *ends]))
        found = list(pairwise([*models, models[0]]))
    else:
        found = list(combinations(dict.fromkeys([*starts, *ends]), 2))
    if which == "within":
        found = [(a, b) for a, b in found if a.parent == b.parent]
    distinct: dict[frozenset[Path], tuple[Path, Path]] = {}
    for a, b in found:
        if a != b:
            distinct.setdefault(frozenset((a, b)), (a, b))
    if not distinct:
        joined = f"{starts[0].parent} and {ends[0].parent}"
        raise UserError(f"pairs: {which} leaves none of {joined}; choose other pairs or recipes")
    return list(distinct.values())


def grid(points: int) -> tuple[float, ...]:
    """Return `points` equally spaced positions from exactly 0 to exactly 1."""
    return tuple(index / (points - 1) for index in range(points))


def along(path: Mapping[str, Any], controls: tuple[Control, ...], ts: Sequence[float]) -> Curve:
    """Return the curve of a path, a name with its options, through `controls` at every t.

    The options of a fitted path are those of its fit.
    """
    name, options = split_options(path)
    coefficients = find("paths", name, "coefficients")
    options = {} if is_fitted(path) else options
    return Curve(controls, tuple(tuple(coefficients(t, **options)) for t in ts))


def is_fitted(path: Mapping[str, Any]) -> bool:
    """Return whether a path, a name with its options, has a trained inner control point."""
    return hasattr(module("paths", path["name"], "coefficients"), "fit")
