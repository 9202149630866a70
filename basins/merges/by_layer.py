"""A technique for some tensors and another, or other options, for others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import AfterValidator

from basins.errors import UserError
from basins.merges.sources import Sources, mixed
from basins.merges.traits import Traits
from basins.registry import check_options, find, split_options
from basins.weights import State

HERE = "by_layer.parts"


def _checked(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Hold each part's technique and options against what there is; raises `UserError`."""
    for number, part in enumerate(parts):
        where, (_, technique) = f"{HERE}.{number}", _split(part, number)
        name, options = split_options(technique)
        check_options(find("merges", name, "merge", where), options, where)
    return parts


Parts = Annotated[list[dict[str, Any]], AfterValidator(_checked)]

TRAITS = Traits("aggregation", cost="that of its parts")


def merge(sources: Sources, *, parts: Parts | None = None) -> list[State]:
    """Return of each tensor what the first of `parts` that names it makes of the networks.

    A part is a technique with its options and `tensors`, a pattern of names or several of them:
    `{tensors: "*.attention.*", name: slerp, t: 0.3}`. In a pattern * is anything. What no part
    names is averaged. Every technique is given whole networks, so that one that counts entries
    counts them all; of what it makes the tensors that it is for are kept. Raises `UserError` where
    a pattern names no tensor, or a technique makes an ensemble.
    """
    found, left = mixed(sources.states), set(sources.states[0])
    for number, part in enumerate(parts or []):
        patterns, technique = _split(part, number)
        named = {name for name in left if any(fnmatchcase(name, p) for p in patterns)}
        if not any(fnmatchcase(n, p) for n in sources.states[0] for p in patterns):
            raise UserError(f"{HERE}.{number}: no tensor is named as in {', '.join(patterns)}")
        name, options = split_options(technique)
        members = find("merges", name, "merge")(sources, **options)
        if len(members) > 1:
            raise UserError(
                f"{HERE}.{number}: {name} makes an ensemble; take one that mixes weights"
            )
        found |= {tensor: members[0][tensor] for tensor in named}
        left -= named
    return [found]


def _split(part: Mapping[str, Any], number: int) -> tuple[Sequence[str], dict[str, Any]]:
    """Return the patterns of a part, and its technique with its options."""
    named: Any = part.get("tensors")
    patterns: list[Any] = [named] if isinstance(named, str) else named or []
    if not patterns or not all(isinstance(p, str) for p in patterns) or "name" not in part:
        raise UserError(
            f"{HERE}.{number}: give the `name` of a technique and the `tensors` it is for"
        )
    return patterns, {key: value for key, value in part.items() if key != "tensors"}
