"""A command that hangs, or that somebody kills, fails its test and never keeps it waiting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import tiny_project as tiny
from tests.processes import first_line, within
from tests.projects import Runner
from tests.runner import Running

pytestmark = pytest.mark.pipeline


@pytest.fixture
def hangs(runner: Runner, tmp_path: Path) -> Running:
    """A command that would run for hours."""
    (tmp_path / "hangs.py").write_text("import time; time.sleep(10_000)\n")
    return runner.start(tmp_path, "hangs.py")


def test_what_hangs_is_killed_at_the_limit_and_named(hangs: Running) -> None:
    with pytest.raises(AssertionError, match="hangs.py: not ended within the limit"):
        hangs.wait(0.1)
    assert within(60, lambda: tiny.group_is_gone(hangs.pid))


def test_what_is_killed_by_hand_has_ended(hangs: Running) -> None:
    os.kill(hangs.pid, signal.SIGKILL)
    assert hangs.wait() == -signal.SIGKILL
    assert within(10, hangs.ended)
    hangs.kill()  # nothing is left to kill


def test_where_who_runs_it_is_killed_by_hand_that_is_said(hangs: Running) -> None:
    status = Path(f"/proc/{hangs.pid}/stat").read_text()
    os.kill(int(status.rpartition(") ")[2].split()[1]), signal.SIGKILL)
    with pytest.raises(AssertionError, match="hangs.py: who runs it was killed"):
        hangs.wait()
    hangs.kill()
    assert within(60, lambda: tiny.group_is_gone(hangs.pid))


def test_a_first_line_is_awaited_no_longer_than_the_limit() -> None:
    for code, said in (("print('ready')", "ready\n"), ("", "")):
        with subprocess.Popen(
            [sys.executable, "-S", "-c", code], stdout=subprocess.PIPE, text=True
        ) as process:
            assert first_line(process) == said
    command = [sys.executable, "-S", "-c", "import time; time.sleep(10_000)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            with pytest.raises(AssertionError, match="silent"):
                first_line(process, 0.1)
        finally:
            process.kill()
