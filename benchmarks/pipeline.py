"""The time of `dvc repro` with nothing to do, in a clone of the committed project."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from basins import layout
from basins.errors import UserError
from basins.params import read
from benchmarks.harness import Row, quantity, seconds

PROJECT = Path(__file__).parents[1]
SPARSE = "mnli_regime"  # most of its sections have no entries


def measure(repetitions: int) -> Iterator[Row]:
    """Yield the seconds of a second run, of a stage in it, and of running stages with no entries.

    The first run is of the profile `smoke`.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        command(PROJECT, "git", "clone", "--quiet", "--local", str(PROJECT), str(copy))
        command(copy, sys.executable, "stages/switch.py", "smoke", "--discard")
        first = seconds(lambda: repro(copy))
        again = np.array([seconds(lambda: repro(copy)) for _ in range(1 + repetitions)])[1:]
        stages = len([*layout.stages(read(copy / "params.yaml", check=[]))]) + 1  # and `check`
        command(copy, sys.executable, "stages/switch.py", SPARSE, "--discard")
        repro(copy, "--single-item", "check")
        params = read(copy / "params.yaml", check=[])
        empty = [name for name in layout.TOGETHER if not getattr(params, name)]
        forced = [
            [seconds(partial(repro, copy, "--single-item", "--force", name)) for name in empty]
            for _ in range(repetitions)
        ]
    yield quantity(
        "second dvc repro, nothing to do",
        "s",
        again,
        must=5,
        aim=2,
        at_most=True,
        profile="smoke",
        first_seconds=first,
        our_seconds=again.tolist(),
    )
    yield quantity(
        "stage of it", "s", again / stages, must=2, aim=None, at_most=True, stages=stages
    )
    yield quantity(
        "stage with no entries, run by itself, DVC's start included",
        "s",
        np.max(forced, axis=1),
        must=None,
        aim=None,
        at_most=True,
        stages=empty,
    )


def repro(project: Path, *options: str) -> None:
    """Run the pipeline of `project` with options of `dvc repro`."""
    command(project, sys.executable, "-m", "dvc", "repro", *options)


def command(project: Path, *words: str) -> None:
    """Run a command in `project` with this Python; raises `UserError` if it fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(project)}
    done = subprocess.run(words, cwd=project, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"pipeline: {' '.join(words[:4])} failed: {done.stderr.strip()[-300:]}")
