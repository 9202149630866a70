"""What was fixed before the rows existed: `profiles/registered/<profile>.json`.

A file lists the claims of a profile with all of their settings (thresholds, signs, selections). It
is committed before the run, whose `provenance.json` names the commit it ran on, so

    git show <commit of the run>:profiles/registered/<profile>.json

shows whether a claim was registered. A claim that is not in it, whose settings have changed, or
that was registered when its rows already existed, is exploratory. A claim that has been removed
from the profile stays in the file as retired, since its registration is part of the record.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from basins import results
from basins.errors import UserError
from basins.store import whole_file

FOLDER = Path("profiles/registered")
NAMED = 3  # the most tables that a message names


def rows_exist(folder: Path) -> bool:
    """Return whether a run has left rows in `folder`, the results of a profile.

    Raises:
        UserError: the run was not finished. Which claims' rows are among those that it has left
            is not known until they are gathered.
    """
    tables = sorted(file for end in ("*.csv", "*.csv.gz") for file in folder.rglob(end))
    gathered = all(results.file_of(folder, name).exists() for name in results.TABLES)
    left = [*_later(folder)] if gathered else tables
    if left:
        named = ", ".join(file.relative_to(folder).as_posix() for file in left[:NAMED])
        more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
        raise UserError(
            f"{folder} has tables of an unfinished run: {named}{more}; claims must be registered "
            "before their rows exist: register in a clean working tree (`git worktree add`)"
        )
    return bool(tables)


def _later(folder: Path) -> Iterator[Path]:
    """Yield the tables of experiments and probes that are not among the gathered rows."""
    for kind, table, column in (("connect", "paths", "experiment"), ("probe", "probes", "recipe")):
        if files := sorted((folder / kind).glob("*.csv")):
            rows = results.read(results.file_of(folder, table))
            known = {str(name).partition("/")[0] for name in rows[column]}
            yield from (file for file in files if file.name.partition(".")[0] not in known)


@dataclass
class Registration:
    """The registered claims of a profile, by `<paper>/<key>`.

    Each has its `settings` and `since` (commit and date); if it is exploratory, the reason as
    `exploratory`; and if the profile no longer has it, the date as `retired`.
    """

    claims: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, profile: str) -> Registration:
        """Return the registration of a profile, empty if it has none."""
        file = FOLDER / f"{profile}.json"
        return cls(json.loads(file.read_text(encoding="utf-8")) if file.exists() else {})

    def of(self, identifier: str, settings: Mapping[str, Any]) -> dict[str, str]:
        """Return whether a claim with these settings is `registered`, since when, or why not."""
        known = self.claims.get(identifier)
        if known is None:
            return {"registered": "no", "since": "", "exploratory": "not registered before the run"}
        if "retired" in known:
            why = f"retired since {known['retired']}"
            return {"registered": "no", "since": known["since"], "exploratory": why}
        if known["settings"] != settings:
            why = f"its settings have changed since {known['since']}"
            return {"registered": "no", "since": known["since"], "exploratory": why}
        why = known.get("exploratory", "")
        return {"registered": "no" if why else "yes", "since": known["since"], "exploratory": why}

    def add(self, identifier: str, settings: Mapping[str, Any], since: str, seen: bool) -> None:
        """Register a claim; if its rows have been `seen`, it is exploratory."""
        entry = {"settings": dict(settings), "since": since}
        if seen:
            entry["exploratory"] = "written down when its rows were there"
        self.claims[identifier] = entry

    def retire(self, kept: Container[str], since: str) -> Iterator[str]:
        """Mark claims that are not `kept` as retired, and yield those that were not before."""
        for identifier, claim in self.claims.items():
            if identifier not in kept and "retired" not in claim:
                claim["retired"] = since
                yield identifier

    def write(self, profile: str) -> Path:
        """Write the file of a profile and return it."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        with whole_file(FOLDER / f"{profile}.json") as file:
            file.write_text(self.text())
        return FOLDER / f"{profile}.json"

    def text(self) -> str:
        """Return the file's text: one line a claim."""
        lines = (f" {json.dumps(key)}: {json.dumps(claim)}" for key, claim in self.claims.items())
        return "{\n" + ",\n".join(lines) + "\n}\n"

    def digest(self) -> str:
        """Return the SHA-256 of the file's text."""
        return sha256(self.text().encode()).hexdigest()
