"""What was fixed before there were rows: `profiles/registered/<profile>.json`.

A file names the claims of a profile with all of their settings (thresholds, signs, what they
select). It is committed before the run, whose `provenance.json` names the commit it ran on, so

    git show <commit of the run>:profiles/registered/<profile>.json

shows whether a claim was there. A claim that is not in it, or has other settings by now, or was
written down when its rows were there already, is exploratory. One that the profile no longer has
stays, as retired: that it was to be held is a part of the record.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from basins.store import whole_file

FOLDER = Path("profiles/registered")


@dataclass
class Registration:
    """The registered claims of a profile, by `<paper>/<key>`.

    Each has its `settings`, `since` (commit and date), where it is exploratory all the same,
    `exploratory`: why, and where the profile has it no more, `retired`: since when.
    """

    claims: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, profile: str) -> Registration:
        """Return the registration of a profile, empty where it has none."""
        file = FOLDER / f"{profile}.json"
        return cls(json.loads(file.read_text(encoding="utf-8")) if file.exists() else {})

    def of(self, identifier: str, settings: Mapping[str, Any]) -> dict[str, str]:
        """Return whether a claim with these settings is `registered`, `since` when, and why not."""
        known = self.claims.get(identifier)
        if known is None:
            return {"registered": "no", "since": "", "exploratory": "not written down before"}
        if "retired" in known:
            why = f"retired since {known['retired']}"
            return {"registered": "no", "since": known["since"], "exploratory": why}
        if known["settings"] != settings:
            why = f"its settings are no longer those of {known['since']}"
            return {"registered": "no", "since": known["since"], "exploratory": why}
        why = known.get("exploratory", "")
        return {"registered": "no" if why else "yes", "since": known["since"], "exploratory": why}

    def add(self, identifier: str, settings: Mapping[str, Any], since: str, seen: bool) -> None:
        """Write down a claim; `seen`: its rows are there already, so it is exploratory."""
        entry = {"settings": dict(settings), "since": since}
        if seen:
            entry["exploratory"] = "written down when its rows were there"
        self.claims[identifier] = entry

    def retire(self, kept: Container[str], since: str) -> Iterator[str]:
        """Mark the claims that are not among those `kept`, and yield each that was not before."""
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
