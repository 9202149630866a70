"""What a stage runs is what it depends on: no module that is called is missing in its code."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from basins.code import PLUMBING
from tests.faults import tiny_project as tiny
from tests.projects import Runner

pytestmark = pytest.mark.pipeline
SCRIPT = str(Path(__file__).with_name("executed.py"))


@pytest.mark.parametrize("stage", tiny.STAGES)
def test_every_module_that_a_stage_calls_is_in_its_code(
    stage: str, runner: Runner, finished: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    for kind in ("train", "points", "align", "probe"):  # so that all is made again
        shutil.rmtree(copy / ".cache" / kind, ignore_errors=True)
    runner.succeed(copy, SCRIPT, "called.txt", *tiny.script(stage))
    called = {
        name
        for name in (copy / "called.txt").read_text().splitlines()
        if name.startswith("basins.") and name not in PLUMBING
    }
    lines = (copy / ".cache" / "code" / stage.replace(" ", "@")).read_text().splitlines()
    known = {line.split()[1] for line in lines}
    assert known and called - known == set()
