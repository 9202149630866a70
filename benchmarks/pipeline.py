"""A second `dvc repro` that has nothing to do, in a copy of the committed project."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from basins.errors import UserError
from benchmarks.harness import Row, quantity, seconds

PROJECT = Path(__file__).parents[1]


def measure(repetitions: int) -> Iterator[Row]:
    """Yield the seconds that the second run takes, after a first one of the profile `smoke`."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        command(PROJECT, "git", "clone", "--quiet", "--local", str(PROJECT), str(copy))
        command(copy, sys.executable, "stages/switch.py", "smoke", "--discard")
        first = seconds(lambda: repro(copy))
        again = np.array([seconds(lambda: repro(copy)) for _ in range(1 + repetitions)])[1:]
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


def repro(project: Path) -> None:
    """Run the pipeline of `project`."""
    command(project, sys.executable, "-m", "dvc", "repro")


def command(project: Path, *words: str) -> None:
    """Run a command in `project` with this Python; raises `UserError` where it fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(project)}
    done = subprocess.run(words, cwd=project, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"pipeline: {' '.join(words[:4])} failed: {done.stderr.strip()[-300:]}")
