"""One run at a time in a checkout; who comes second is told who is there, and changes nothing."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.faults import tiny_project as tiny
from tests.processes import within
from tests.projects import Runner

pytestmark = pytest.mark.pipeline

SWITCH = ("stages/switch.py", "smoke", "--discard")


def slow(project: Path) -> None:
    """Make the first stage that runs take as long as a test needs."""
    stage = project / "stages" / "claims.py"
    stage.write_text("import time; time.sleep(600)\n")


@pytest.mark.parametrize("first", [("stages/repro.py", "tiny"), tiny.DVC])
def test_a_second_run_is_told_of_the_first_and_changes_nothing(
    first: tuple[str, ...], runner: Runner, copy: Path
) -> None:
    slow(copy)
    claims = copy / "reports" / "tiny" / "claims.json"
    process = runner.start(copy, *first)
    try:
        # DVC notes what a stage writes, then deletes it, then runs the stage.
        assert within(60, lambda: not claims.exists())
        before = tiny.content(copy)
        assert not process.ended(), "killed from outside"
        for second in (("stages/repro.py", "tiny"), ("stages/repro.py", "smoke"), SWITCH):
            line = runner.refuse(copy, *second)
            assert f"(process {process.pid}" in line and "nothing was changed" in line
            if first != tiny.DVC:
                assert "`make repro PROFILE=tiny`" in line and re.search(r"since .*:\d\d", line)
        done = runner.run(copy, *tiny.DVC)
        assert done.returncode and f"(PID {process.pid})" in done.stderr
        assert tiny.content(copy) == before
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    assert within(10, lambda: tiny.group_is_gone(process.pid))
    # What is left of the killed one keeps nobody out, half-written or not.
    if first == tiny.DVC:
        (copy / ".dvc" / "tmp" / "rwlock").write_text("")
    assert "profile smoke" in runner.succeed(copy, *SWITCH)
