"""Killed at random moments, a rerun ends with the undisturbed run's bytes.

`BASINS_KILLS=50` tries fifty moments instead of a few.
"""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults import tiny_project as tiny
from tests.processes import within
from tests.projects import Runner, edit

pytestmark = pytest.mark.pipeline

KILLS = int(os.environ.get("BASINS_KILLS", "5"))
# What is killed, within how many seconds: about what it takes.
ROUTES = {"data shapes": 0.7, "train plain": 0.7, "connect pairs": 1.0, "figures": 2.5, "dvc": 10.0}


@pytest.mark.parametrize("number", range(KILLS))
def test_killed_it_goes_on_and_ends_with_the_same_bytes(
    number: int, runner: Runner, finished: Path, tmp_path: Path
) -> None:
    draw = random.Random(number)
    route = list(ROUTES)[number % len(ROUTES)]
    project = tmp_path / "project"
    if route == "dvc":
        tiny.unmade(finished, project)
        command = tiny.DVC
    else:
        tiny.without(finished, project, route)
        command = tiny.script(route)
    parallel = number // len(ROUTES) % 2 and route != "dvc"  # of which params are an input
    workers = ("workers: 1", "workers: 2")
    if parallel:
        edit(project, *workers)
    process = runner.start(project, *command)
    if draw.random() < 0.5:  # at any moment at all
        time.sleep(draw.uniform(0, ROUTES[route]))
    else:  # at a moment when files are being written
        temporary = project / ".cache" / "tmp"
        within(60, lambda: temporary.exists() or process.ended())
        time.sleep(draw.uniform(0, ROUTES[route] / 3))
    kill = draw.choice([os.killpg, os.kill])  # alone: what it has started sees to itself
    with suppress(ProcessLookupError):
        kill(process.pid, signal.SIGKILL)
    killed = process.wait() == -signal.SIGKILL
    kept = tiny.items(project)
    if route == "dvc":  # what DVC itself left half-written is for `make repro` to mend
        command = ("stages/repro.py", "tiny")
    runner.succeed(project, *command)
    if parallel:
        edit(project, *reversed(workers))
    after = tiny.items(project)
    assert {item: after.get(item) for item in kept} == kept, "finished items were made again"
    expected, found = tiny.content(finished), tiny.content(project)
    if route != "dvc":  # a stage alone makes the store's items that it needs
        assert not list((project / ".cache" / "tmp").iterdir())
        expected, found = (
            {name: value for name, value in names.items() if not name.startswith(".cache")}
            for names in (expected, found)
        )
    assert found == expected
    how = kill.__name__ if killed else "had ended"
    print(f"kill {number}, {route}: {how}, {len(kept)} of {len(after)} items kept")
