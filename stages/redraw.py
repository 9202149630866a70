"""Decide the claims of every profile and draw its figures, tables and report, from rows alone."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import claims
import figures
import readme
import report
from basins import parallel
from basins.errors import UserError, one_line

REPORTS = Path("reports")
STAGES = (claims, figures, report)


def main() -> None:
    """Redraw as many profiles at a time as there are cores, then the README's parts.

    Stages of all profiles share processes, since to import what they need takes as long as to draw.
    """
    argparse.ArgumentParser(description=__doc__).parse_args()
    every = sorted(map(str, REPORTS.glob("*/params.yaml")))
    if not every:
        raise UserError(f"{REPORTS}: no profile has rows; run `make repro` first")
    cores = os.cpu_count() or 1
    parallel.run(redraw, every, workers=cores, title="redraw", steps=len(STAGES))
    readme.main()


def redraw(params: str, step: parallel.Step) -> None:
    """Run the stages that follow from the rows of the profile with these `params`."""
    for stage in STAGES:
        sys.argv = [f"{stage.__name__}.py", "--params", params]
        stage.main()
        step()


if __name__ == "__main__":
    with one_line():
        main()
