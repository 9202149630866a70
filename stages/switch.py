"""Switch params.yaml to another profile, and print what changes: profiles/ -> params.yaml."""

from __future__ import annotations

import argparse
from pathlib import Path

from basins import layout, lock, profiles, results
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
    lock.take(f"a switch to profile {arguments.name}")
    switch(arguments.name, arguments.discard)


def switch(name: str, discard: bool = False) -> None:
    """Write the params of a profile, and the folders that DVC needs; print what changes.

    Raises `UserError` if that would lose edits made by hand, unless `discard` is set.
    """
    wanted = profiles.render(FOLDER, name)
    lines = []
    if not discard:
        active, current = read(PARAMS, check=[]).profile, PARAMS.read_text(encoding="utf-8")
        known = active if active in profiles.names(FOLDER) else profiles.BASE
        edits = profiles.changes(profiles.render(FOLDER, known), current)
        if active == name:
            wanted = current
            lines = [f"  edited {edit}" for edit in edits]
        elif edits:
            raise UserError(
                f"params.yaml has edits that profile {known!r} does not hold: {'; '.join(edits)}. "
                f"Undo them, or lose them with: python stages/switch.py {name} --discard"
            )
        else:
            lines = [
                f"  {change}" for change in profiles.summary(profiles.changes(current, wanted))
            ]
    with whole_file(PARAMS) as file:
        file.write_text(wanted, encoding="utf-8")
    params = read(PARAMS)
    for kind in results.KINDS:  # DVC needs the folder even if the profile has no such rows
        (layout.results(params, kind)).mkdir(parents=True, exist_ok=True)
    print(f"profile {name}", *lines, sep="\n")
    print(f"expected: {params.expected_minutes:g} minutes on what profiles/{name}.yaml names")


if __name__ == "__main__":
    with one_line():
        main()
