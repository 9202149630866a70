"""Matches the classes of data and network by their names, never by their positions."""

from __future__ import annotations

import re
from collections.abc import Sequence

from basins.errors import UserError

SHOWN = 12  # names in a message


def key(name: object) -> str:
    """Normalise a class's name: no case, spaces, `_` or `-`; `LABEL_3` becomes the number 3."""
    plain = re.sub(r"[\s_-]+", "", str(name)).casefold()
    number = re.fullmatch(r"(?:label)?([0-9]+)", plain)
    return (number[1].lstrip("0") or "0") if number else plain


def numbered(names: Sequence[str]) -> bool:
    """Return whether the names of classes are only numbers."""
    return all(key(name).isdigit() for name in names)


def matched(
    network: Sequence[str], data: Sequence[str], where: object
) -> tuple[list[int], list[int] | None]:
    """Return the number of each class of the data, and how a network's classes are merged.

    If every class of the data is one of the network's, numbers are those of the network's outputs,
    and nothing is merged (None). Otherwise numbers are the data's own: one class may be the
    negation of another that the network has (`non-entailment`, `not_duplicate`), and all of the
    network's classes that are missing from the data count as it, as MNLI's neutral and
    contradiction count as HANS's non-entailment. Without a negation, such classes are never right.

    Raises `UserError`, naming `where` and both lists, for other names.
    """
    ours, theirs = [key(name) for name in network], [key(name) for name in data]
    if ours == theirs and len(set(ours)) == len(ours):
        return list(range(len(data))), None
    unknown = [name for name in theirs if name not in ours]
    positive = re.fullmatch(r"(?:non|not|no|un|in|dis)(.+)", unknown[0]) if unknown else None
    rest = len(unknown) == 1 and positive is not None and positive[1] in set(theirs) & set(ours)
    if len(set(theirs)) < len(theirs) or (unknown and not rest):
        raise UserError(
            f"{where}: its classes ({_shown(data)}) are not the network's ({_shown(network)}); "
            "name the network's outputs after them: `--labels NAME=NUMBER,...`, or `id2label` in "
            "its config.json"
        )
    if not unknown and len(set(ours)) == len(ours):
        return [ours.index(name) for name in theirs], None
    number = {name: k for k, name in enumerate(theirs)}
    other = number[unknown[0]] if unknown else len(data)
    return list(range(len(data))), [number.get(name, other) for name in ours]


def _shown(names: Sequence[str]) -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(f"{name!s:.40}" for name in names[:SHOWN]) + more
