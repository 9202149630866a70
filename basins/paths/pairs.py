"""Which models of an experiment are joined, by which curves, and at which points of them."""

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
    """Return the unordered pairs of models, a start first where a pair has one of each.

    Models are folders `.../seed<k>`. `all` joins every two models; `between` only a start with an
    end; `within` only those of one recipe, method or variant; `seed` only a start with the ends of
    its own seed; `ring` each with the next, and the last with the first. Raises `UserError` where
    that is none.
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


def along(path: Mapping[str, Any], controls: tuple[Control, ...], ts: Sequence[float]) -> Curve:
    """Return a path, a name with its options, through `controls` at every t.

    Where the path is fitted, its options are those of the fit.
    """
    name, options = split_options(path)
    coefficients = find("paths", name, "coefficients")
    options = {} if is_fitted(path) else options
    return Curve(controls, tuple(tuple(coefficients(t, **options)) for t in ts))


def is_fitted(path: Mapping[str, Any]) -> bool:
    """Return whether a path, a name with its options, has an inner control point to be fitted."""
    return hasattr(module("paths", path["name"], "coefficients"), "fit")
