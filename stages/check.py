"""Check params.yaml before DVC runs or removes what it names, and list each stage's code.

Writes .cache/code/<stage>, on which that stage depends, with a line for each of its modules. The
ledger also depends on the registration of its claims, which not every profile has.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from basins import code, layout
from basins.claims.registration import Registration
from basins.errors import UserError, one_line
from basins.params import read
from basins.store import whole_folder


def main() -> None:
    """Check all names, as they are part of commands and of paths that DVC removes."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    refuse_other_code()
    params = read(check=[])
    with whole_folder(Path(".cache/code")) as folder:
        for stage, script, settings in layout.stages(params):
            modules = code.closure([f"stages.{script}"], settings)
            lines = (f"{digest}  {module}\n" for module, digest in modules.items())
            (folder / stage).write_text("".join(lines))
        with (folder / "claims").open("a") as file:
            file.write(f"{Registration.read(params.profile).digest()}  profiles/registered\n")


def refuse_other_code() -> None:
    """Raise `UserError` if Python imports `basins` from a checkout with other code.

    That is where it was installed from; a copy made by `dvc exp run --temp` may differ.
    """
    for file in sorted([*Path("basins").rglob("*.py"), *Path("stages").glob("*.py")]):
        theirs = code.ROOT / file
        if not (theirs.is_file() and theirs.read_bytes() == file.read_bytes()):
            raise UserError(
                f"{file} is not the {theirs} that Python would run: export PYTHONPATH=. to have "
                "every checkout run its code"
            )


if __name__ == "__main__":
    with one_line():
        main()
