"""On a full disk every stage says so in one line, and what was there is as it was.

`BASINS_FAULTS=1` fills the disk under every stage there is, not only under the cheap ones.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import tiny_project as tiny
from tests.projects import Runner

pytestmark = pytest.mark.pipeline

EVERY = bool(os.environ.get("BASINS_FAULTS"))
MEBIBYTE = 2**20
ACCURACIES = "Run,MNLI dev acc.,Lexical (nonent),Overall accuracy\n" + "".join(
    f"Run {run},0.8{run % 9},0.{run % 7}1,0.5{run % 5}\n" for run in range(100)
)
# An entry of every script in stages/, in an order in which they may run.
OTHERS = {
    "pretrain": "encoder",
    "classify": "text",
    "finetune": "tuned",
    "race": "pairs",
    "plane": "three",
    "merge": "pair",
    "sharpness": "plain",
    "clusters": "pairs",
    "aspect": "connectivity",
    "toy": "theory",
    "published": "",
    "check": "",
    "switch": "whole",
}
# What gathers comes after what it gathers.
PLACES = {"clusters": 1, "analyze": 2, "aspect": 3, "claims": 4, "figures": 5, "report": 6}
CHEAP = [*tiny.STAGES, "switch tiny"]
ALL = [*tiny.STAGES, *(" ".join(stage).strip() for stage in OTHERS.items())]


def test_every_stage_is_tried() -> None:
    there = {path.stem for path in (tiny.PROJECT / "stages").glob("*.py")}
    no_stages = {"common", "encoder", "readme", "redraw", "repro", "site", "timed"}
    assert {stage.split()[0] for stage in ALL} == there - no_stages


@pytest.fixture(scope="module")
def made(runner: Runner, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run; where every stage is tried, with what the others write."""
    if not EVERY:
        return finished
    project = tmp_path_factory.mktemp("whole") / "made"
    shutil.copytree(finished, project, symlinks=True)
    shutil.copy(tiny.HERE / "whole.yaml", project / "profiles")
    real = project / "data" / "raw" / "published"
    real.mkdir(parents=True)
    (real / "berts_of_a_feather_accuracies_by_run.csv").write_text(ACCURACIES)
    runner.succeed(project, "stages/switch.py", "whole", "--discard")
    order = ["data grammar", "data nli", *tiny.STAGES, *ALL]
    order.sort(key=lambda stage: PLACES.get(stage.split()[0], 0))
    for stage in dict.fromkeys(order):
        runner.succeed(project, *tiny.script(stage))
    return project


@pytest.fixture
def disk(made: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the run, without its store, on a disk of its own."""
    kept = shutil.ignore_patterns(".git", ".dvc", ".cache")
    size = sum(path.stat().st_size + 4096 for path in made.rglob("*")) + MEBIBYTE
    mounted = tmp_path / "disk"
    mounted.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(mounted)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        shutil.copytree(made, mounted, ignore=kept, dirs_exist_ok=True)
        yield mounted
    finally:
        unmount(mounted)


def unmount(disk: Path) -> None:
    """Wait for the server that workers are forked from: it ends once it is through its imports."""
    end = time.monotonic() + 30
    while subprocess.run(["umount", str(disk)], capture_output=True, check=False).returncode:
        assert time.monotonic() < end, "someone still works on the disk"
        time.sleep(0.1)


def fill(disk: Path, free: int) -> None:
    """Leave that many bytes."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(MEBIBYTE // 16))
        except OSError:
            pass
    with (disk / "filler").open("r+b") as filler:
        filler.truncate((disk / "filler").stat().st_size - free)


@pytest.mark.parametrize("stage", ALL if EVERY else CHEAP)
def test_one_line_and_nothing_half_written(stage: str, runner: Runner, disk: Path) -> None:
    for free in (0, 16 * 1024):
        shutil.rmtree(disk / ".cache", ignore_errors=True)
        fill(disk, free)
        before = files(disk)
        done = runner.run(disk, *tiny.script(stage))
        assert files(disk) == before or not done.returncode
        assert not [*(disk / ".cache").glob("tmp/*")]
        assert done.returncode or free
        if done.returncode:
            [line] = done.stderr.strip().splitlines()
            assert line.startswith("error: ") and "no space left on the disk" in line


def files(disk: Path) -> dict[str, str]:
    """Return what is on the disk, beside the store, whose items come one by one."""
    return {name: value for name, value in tiny.content(disk).items() if ".cache" not in name}
