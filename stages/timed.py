"""Run the pipeline as `dvc repro` does, say how far it is and what it found: -> seconds.csv.

The times are beside what DVC knows: they differ from run to run, and its outputs may not.
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
    """Be DVC, with a stopwatch; end with its code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="where the seconds of each stage are kept")
    parser.add_argument("stages", nargs="*", help="all stages, to say how far the run is")
    arguments = parser.parse_args()
    stopwatch = Stopwatch(arguments.file, arguments.stages)
    from dvc.cli import main as dvc  # sets up its log, which is for this process alone

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
    """Take stages that there are no more out of dvc.lock; the store still has their items."""
    from dvc.utils.serialize import load_yaml, modify_yaml

    dead = load_yaml("dvc.lock")["stages"].keys() - set(stages)
    if dead:
        with modify_yaml("dvc.lock") as lock:
            for stage in dead:
                del lock["stages"][stage]


if __name__ == "__main__":
    with one_line():
        main()
