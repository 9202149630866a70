"""Workers beside each other, and what stops them: memory, a kill, files that may not be written."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import tiny_project as tiny
from tests.processes import within
from tests.projects import Runner, edit

pytestmark = pytest.mark.pipeline


def test_too_little_memory_is_one_line_that_says_what_to_do(runner: Runner, copy: Path) -> None:
    edit(copy, "{name: mlp, width: 16}", "{name: mlp, width: 2000000000}")  # 6 TB
    before = tiny.content(copy)
    line = runner.refuse(copy, *tiny.script("train plain"))
    assert "train plain: seed 0: out of memory: use fewer" in line and "seed 1: out of" in line
    assert tiny.content(copy) == before


def test_an_item_whose_worker_is_killed_is_trained_again(
    runner: Runner, finished: Path, tmp_path: Path
) -> None:
    project, temporary = tmp_path / "project", tmp_path / "project" / ".cache" / "tmp"
    tiny.without(finished, project, "train plain")
    edit(project, "workers: 1", "workers: 2")
    process = runner.start(project, *tiny.script("train plain"))
    assert within(60, lambda: temporary.exists() and any(temporary.iterdir()))
    worker = next(temporary.iterdir()).name.partition("-")[0]
    os.kill(int(worker), signal.SIGKILL)  # as the system does when memory runs out
    assert process.wait() == 0
    edit(project, "workers: 2", "workers: 1")
    assert made(project) == made(finished)
    assert not list(temporary.iterdir())


def test_two_workers_give_the_bytes_of_one(runner: Runner, finished: Path, tmp_path: Path) -> None:
    project, stages = tmp_path / "project", ("train cued", "connect pairs")
    tiny.without(finished, project, *stages)
    edit(project, "workers: 1", "workers: 2")
    for stage in stages:
        runner.succeed(project, *tiny.script(stage))
    edit(project, "workers: 2", "workers: 1")
    assert made(project) == made(finished)


def made(project: Path) -> dict[str, str]:
    """Return the content of all but the store."""
    return {name: hash for name, hash in tiny.content(project).items() if ".cache" not in name}


@pytest.fixture
def sealed(copy: Path) -> Iterator[Path]:
    """A finished run whose `data/` nobody may write to, root included."""
    data = str(copy / "data")
    for command in (["--bind", data], ["-o", "remount,bind,ro"]):
        if subprocess.run(["mount", *command, data], capture_output=True, check=False).returncode:
            pytest.skip("mounting a folder needs root")
    try:
        yield copy
    finally:
        subprocess.run(["umount", data], check=True)


def test_data_that_is_read_only_is_read_and_not_written(
    runner: Runner, finished: Path, sealed: Path
) -> None:
    line = runner.refuse(sealed, *tiny.script("data shapes"))
    assert "error: data/" in line and "read-only file system" in line
    for stage in ("train plain", "connect pairs", "probe"):
        runner.succeed(sealed, *tiny.script(stage))
    assert tiny.content(sealed) == tiny.content(finished)
