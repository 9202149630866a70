"""Run `dvc repro`, and print its progress and a summary of the results: -> seconds.csv.

The times are not an output of DVC, since they differ from run to run.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from basins.claims import headline
from basins.errors import one_line
from basins.stopwatch import Stopwatch


def main() -> None:
    """Run DVC with a stopwatch; exit with its code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="where the seconds of each stage are kept")
    parser.add_argument("stages", nargs="*", help="all stages, to say how far the run is")
    arguments = parser.parse_args()
    stopwatch = Stopwatch(arguments.file, arguments.stages)
    from dvc.cli import main as dvc  # imported here, as it sets up logging

    logging.getLogger("dvc").addHandler(stopwatch)
    code = dvc(["repro"])
    if code == 0:
        stopwatch.finish(time.time())
        forget(stopwatch.named)
        if arguments.stages:
            said = [
                json.loads((arguments.file.parent / f"{name}.json").read_text())
                for name in ("claims", "metrics")
            ]
            print(*headline.summary(*said), sep="\n")
    sys.exit(code)


def forget(stages: Iterable[str]) -> None:
    """Remove stages from dvc.lock that no longer exist; the store still has their items."""
    from dvc.utils.serialize import load_yaml, modify_yaml

    dead = load_yaml("dvc.lock")["stages"].keys() - set(stages)
    if dead:
        with modify_yaml("dvc.lock") as lock:
            for stage in dead:
                del lock["stages"][stage]


if __name__ == "__main__":
    with one_line():
        main()
