"""`make check`: which tests come to what has changed, that all are reached, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from basins.errors import UserError
from tests import changed

PROJECT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("module", "test", "steps"),
    [
        ("basins.merges.zipit", "tests/merges/test_zipit.py", 0),  # named after it
        ("basins.merges.ties", "tests/merges/test_techniques.py", 1),  # imports it, or has its name
        ("basins.data.cola", "tests/junk/test_formats.py", 1),  # has its name
        ("basins.align.permute", "tests/align/test_equivalence.py", 2),
        ("stages.switch", "tests/test_timed.py", None),
    ],
)
def test_how_far_a_test_is_from_a_module(module: str, test: str, steps: int | None) -> None:
    assert changed.distance(Path(test), {module}) == steps


def test_every_test_but_few_comes_to_some_module() -> None:
    reached = changed.distances(sorted(changed.MODULES), [])
    missing = {path.relative_to(PROJECT) for path in changed.TESTS.rglob("test_*.py")} - {*reached}
    assert {path.name for path in missing} <= {"test_install.py", "test_readme.py"}


@pytest.mark.parametrize("room", ["nothing", "../basins", "$(touch pwned)", "merges/nothing"])
def test_a_room_that_is_not_there_is_refused(room: str) -> None:
    with pytest.raises(UserError, match="no room or module; rooms: align, "):
        changed.of_room(room)


def test_a_room_a_module_and_a_stage() -> None:
    assert Path("tests/merges/test_zipit.py") in changed.of_room("merges")
    ties = changed.of_room("merges/zipit")
    assert ties == [Path("basins/merges/zipit.py"), Path("tests/merges/test_zipit.py")]
    assert Path("tests/test_store.py") in changed.of_room("store")
    assert changed.of_room("claims")[-1] == Path("stages/claims.py")


def test_no_test_begins_after_the_time_that_is_given(tmp_path: Path) -> None:
    shared = (PROJECT / "tests" / "conftest.py").read_text()
    (tmp_path / "conftest.py").write_text(shared.replace("began[0] + 10", "began[0] + 0.1"))
    (tmp_path / "test_slow.py").write_text(
        "import time\ndef test_a(): time.sleep(0.2)\ndef test_b(): pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "."]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "BASINS_DEADLINE": "0", "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    assert "1 passed, 1 skipped" in done.stdout and "left to `make test`" in done.stdout
