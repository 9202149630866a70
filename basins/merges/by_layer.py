"""Different techniques, or different options, for different tensors."""

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
    """Check each part's technique and options; raises `UserError` if one is unknown."""
    for number, part in enumerate(parts):
        where, (_, technique) = f"{HERE}.{number}", _split(part, number)
        name, options = split_options(technique)
        check_options(find("merges", name, "merge", where), options, where)
    return parts


Parts = Annotated[list[dict[str, Any]], AfterValidator(_checked)]

TRAITS = Traits("aggregation", cost="that of its parts")


def merge(sources: Sources, *, parts: Parts | None = None) -> list[State]:
    """Merge each tensor by the technique of the first of `parts` whose patterns match its name.

    A part is a technique with its options and `tensors`, one or several patterns of names:
    `{tensors: "*.attention.*", name: slerp, t: 0.3}`, where * matches anything. Tensors that no
    part matches are averaged. Every technique merges whole networks, so that shares of entries are
    of all entries, and only the matching tensors are kept. Raises `UserError` if no tensor matches
    a part's patterns, or a technique returns an ensemble.
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
    """Return a part's patterns, and its technique with options."""
    named: Any = part.get("tensors")
    patterns: list[Any] = [named] if isinstance(named, str) else named or []
    if not patterns or not all(isinstance(p, str) for p in patterns) or "name" not in part:
        raise UserError(
            f"{HERE}.{number}: give the `name` of a technique and the `tensors` it is for"
        )
    return patterns, {key: value for key, value in part.items() if key != "tensors"}
