"""Check params.yaml before DVC runs or removes what is named in it -> .cache/params.ok."""

from __future__ import annotations

import argparse
from pathlib import Path

from basins.errors import one_line
from basins.params import read
from basins.store import whole_file


def main() -> None:
    """Read all params: names are part of commands, and of the paths that DVC empties."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    read(check=[])
    with whole_file(Path(".cache/params.ok")) as file:
        file.write_text("ok\n")


if __name__ == "__main__":
    with one_line():
        main()
