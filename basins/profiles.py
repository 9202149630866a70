"""Profiles: the settings of `laptop`, and how the others differ."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from basins.errors import UserError

BASE = "laptop"
FEW = 20
"""Up to so many changes are listed one by one; more are counted by section."""


def names(folder: Path) -> list[str]:
    """Return the names of all profiles."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def render(folder: Path, name: str) -> str:
    """Return the whole params file of a profile, with the comments of the base and its own.

    A profile's file contains only differences from the profile in `extends`, by default `laptop`;
    `null` removes a key, and sections listed in `replaces` keep nothing of that profile; nor then
    does `labels`, whose words are for entries of other sections. Raises `UserError` if a profile,
    section or key does not exist, or a file cannot be read.
    """
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 4096, True  # lines are not wrapped
    yaml.indent(mapping=2, sequence=4, offset=2)
    overlays: list[Any] = []
    while name != BASE:
        if name not in names(folder):
            raise UserError(f"no profile {name!r}; there are: {', '.join(names(folder))}")
        overlays.append(_mapping(yaml, folder / f"{name}.yaml"))
        if len(overlays) > len(names(folder)):
            raise UserError(f"profile {name!r} extends itself")
        name = overlays[-1].pop("extends", BASE)
    content = _mapping(yaml, folder / f"{BASE}.yaml")
    for overlay in reversed(overlays):
        replaced = overlay.pop("replaces", None) or []
        for section in [*replaced, *(["labels"] if replaced and "labels" in content else [])]:
            if not isinstance(content.get(str(section)), Mapping):
                raise UserError(f"a profile replaces {str(section)!r:.60}, which is no section")
            _merge(content[section], dict.fromkeys(content[section]))
        _merge(content, overlay)
    text = io.StringIO()
    yaml.dump(content, text)
    return text.getvalue()


def changes(old: str, new: str) -> list[str]:
    """Return the keys whose values differ between two params files, one line each."""
    yaml = YAML(typ="safe")
    before, after = dict(_leaves(yaml.load(old))), dict(_leaves(yaml.load(new)))
    return [
        f"{key}: {before.get(key, 'absent')} -> {after.get(key, 'absent')}"
        for key in dict.fromkeys([*before, *after])
        if before.get(key, "absent") != after.get(key, "absent")
    ]


def summary(changes: Sequence[str]) -> Sequence[str]:
    """Return the changes if they are few, else their number in each section."""
    if len(changes) <= FEW:
        return changes
    sections = Counter(change.split(":")[0].split(".")[0] for change in changes)
    return [f"{section}: {count} settings" for section, count in sections.items()]


def _mapping(yaml: YAML, file: Path) -> Any:
    try:
        content = yaml.load(file.read_text(encoding="utf-8"))
    except (OSError, YAMLError, ValueError, LookupError, RecursionError) as error:
        line = " ".join(str(error).split())
        raise UserError(f"{file}: not readable as YAML: {line:.300}") from None
    if not isinstance(content, Mapping) or not isinstance(content.get("replaces") or [], list):
        raise UserError(f"{file}: not a mapping of settings, with `replaces` a list of sections")
    return content


def _merge(base: Any, overlay: Mapping[str, Any]) -> None:
    direct = dict(base.non_merged_items())
    for key, value in overlay.items():
        if value is None:
            if key not in direct:
                raise UserError(f"a profile's null for {key!r}: no such key to remove")
            del base[key]
            if not base:
                base.fa.set_flow_style()  # as {}: block style has no empty mapping
        elif isinstance(value, Mapping) and isinstance(base.get(key), Mapping):
            if key not in direct:  # inherited by `<<`: copied, as its source must not change
                base[key] = deepcopy(base[key])
            _merge(base[key], value)
        else:
            base[key] = value
            base.fa.set_block_style()


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, value
