"""Switch params.yaml to another profile: profiles/ -> params.yaml, with what changes printed."""

from __future__ import annotations

import argparse
from pathlib import Path

from basins import profiles
from basins.errors import UserError, one_line
from basins.params import read
from basins.store import whole_file

FOLDER, PARAMS = Path("profiles"), Path("params.yaml")


def main() -> None:
    """Write the profile's params, unless that would lose edits made by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help=f"one of: {', '.join(profiles.names(FOLDER))}")
    parser.add_argument("--discard", action="store_true", help="lose edits made to params.yaml")
    arguments = parser.parse_args()

    wanted = profiles.render(FOLDER, arguments.name)
    current = PARAMS.read_text(encoding="utf-8")
    if not arguments.discard:
        active = read(PARAMS, check=[]).profile
        edits = profiles.changes(profiles.render(FOLDER, active), current)
        if active == arguments.name:
            print(f"profile {active}", *(f"  edited {edit}" for edit in edits), sep="\n")
            return
        if edits:
            raise UserError(
                f"params.yaml has edits that profile {active!r} does not hold: {'; '.join(edits)}. "
                f"Undo them, or lose them with: python stages/switch.py {arguments.name} --discard"
            )
    with whole_file(PARAMS) as file:
        file.write_text(wanted, encoding="utf-8")
    changed = [f"  {change}" for change in profiles.changes(current, wanted)]
    print(f"profile {arguments.name}", *changed, sep="\n")
    print(f"expected: {read(PARAMS).expected_minutes:g} minutes")


if __name__ == "__main__":
    with one_line():
        main()
