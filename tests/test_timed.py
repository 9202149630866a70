"""The seconds of each stage, from what DVC says, and that DVC still says it."""

from __future__ import annotations

import csv
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from basins.stopwatch import Stopwatch

PROJECT = Path(__file__).parents[1]
TIMED = PROJECT / "stages" / "timed.py"
NOON = 1_700_049_600.0  # 2023-11-15
STAGES = """
stages:
  slow:
    cmd: sleep 0.4; echo made > made
    deps: [given]
    outs: [made]
  {last}:
    cmd: cat made; {command}
    deps: [made]
"""


def rows(file: Path) -> list[tuple[str, ...]]:
    with file.open() as lines:
        return [tuple(row) for row in csv.reader(lines)]


@pytest.fixture
def stopwatch(tmp_path: Path):
    """Return a new stopwatch of one file, whenever it is called."""
    return lambda: Stopwatch(tmp_path / "seconds.csv")


def hear(stopwatch, *said: tuple[float, str]) -> None:
    for seconds, message in said:
        given = {"msg": message, "created": NOON + seconds}
        stopwatch.handle(logging.makeLogRecord(given))


def test_a_stage_takes_until_dvc_comes_to_the_next_whatever_it_has_noted(stopwatch):
    """DVC does not say that it notes outputs which it knows already."""
    watch = stopwatch()
    hear(
        watch,
        (0, "Running stage 'data@nli':"),
        (1, "> python stages/data.py nli"),
        (12.34, "Generating lock file 'dvc.lock'"),
        (12.34, "Updating lock file 'dvc.lock'"),
        (13, "Running stage 'figures':"),
        (20, "Running stage 'report':"),
    )
    header = ("stage", "seconds", "date")
    first = [("data@nli", "13.0", "2023-11-15"), ("figures", "7.0", "2023-11-15")]
    assert rows(watch.file) == [header, *first]
    watch.finish(NOON + 90_000)
    assert rows(watch.file) == [header, *first, ("report", "89980.0", "2023-11-16")]


def test_what_did_not_run_or_did_not_end_keeps_its_row_and_what_is_no_more_goes(stopwatch):
    first = stopwatch()
    hear(first, *((k, f"Running stage '{stage}':") for k, stage in enumerate(("old", "a", "b"))))
    first.finish(NOON + 5)
    second = stopwatch()
    hear(
        second,
        (86_400, "Running stage 'a':"),
        (86_450, "Stage 'b' is cached - skipping run, checking out outputs"),
        (86_460, "Updating lock file 'dvc.lock'"),
        (86_470, "Running stage 'old':"),
    )
    kept = [("old", "1.0", "2023-11-15"), ("a", "50.0", "2023-11-16"), ("b", "3.0", "2023-11-15")]
    assert rows(second.file)[1:] == kept
    third = stopwatch()
    hear(third, *((99_000, f"Stage '{stage}' didn't change, skipping") for stage in "ba"))
    third.finish(NOON + 99_000)
    assert rows(third.file)[1:] == [kept[2], kept[1]]


def test_progress_says_which_of_how_many_and_what_is_left(stopwatch, capsys):
    earlier = stopwatch()
    hear(earlier, *((600 * k, f"Running stage '{stage}':") for k, stage in enumerate("abc")))
    earlier.finish(NOON + 1800)
    watch = Stopwatch(earlier.file, "abc")
    hear(watch, (0, "Stage 'a' didn't change, skipping"), (60, "Running stage 'b':"))
    hear(watch, (360, "Running stage 'c':"))  # twice as fast as before
    assert capsys.readouterr().out.splitlines() == [
        "stage 2 of 3: b, 1.0 min gone, at most about 20 left",
        "stage 3 of 3: c, 6.0 min gone, at most about 5 left",
    ]
    hear(Stopwatch(earlier.file, "abd"), (0, "Running stage 'a':"))  # of d nothing is known
    assert capsys.readouterr().out == "stage 1 of 3: a, 0.0 min gone\n"


@pytest.mark.parametrize("damage", ["a", "a,b", "a,many,2023-11-15\n\n,,", "\0,1", "a,nan,b"])
def test_a_damaged_file_of_times_stops_no_run(stopwatch, damage):
    file = stopwatch().file
    file.write_text(f"stage,seconds,date\n{damage}\n")
    watch = Stopwatch(file, "ab")
    hear(watch, (0, "Running stage 'a':"), (1, "Running stage 'b':"))
    watch.finish(NOON + 2)
    assert [stage for stage, *_ in rows(file)] == ["stage", "a", "b"]


def test_dvc_says_what_is_listened_for_and_ends_as_it_would(tmp_path):
    def run(*command: str) -> subprocess.CompletedProcess[str]:
        given = {**os.environ, "PYTHONPATH": str(PROJECT), "DVC_NO_ANALYTICS": "1"}
        return subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=given, capture_output=True, text=True
        )

    def timed() -> subprocess.CompletedProcess[str]:
        return run(str(TIMED), "reports/seconds.csv")

    file, stages = tmp_path / "reports" / "seconds.csv", tmp_path / "dvc.yaml"
    assert run("-m", "dvc", "init", "--no-scm", "--quiet").returncode == 0
    (tmp_path / "given").write_text("")
    stages.write_text(STAGES.format(last="fails", command="exit 3"))
    done = timed()
    assert done.returncode == 255 and "failed to reproduce 'fails'" in done.stderr
    assert "Running stage 'slow':" in done.stdout
    [(stage, seconds, _)] = rows(file)[1:]
    assert stage == "slow" and 0.4 <= float(seconds) < 20

    stages.write_text(STAGES.format(last="works", command="true"))
    assert timed().returncode == 0
    assert [stage for stage, *_ in rows(file)] == ["stage", "slow", "works"]
    before = file.read_bytes()
    done = timed()
    assert done.returncode == 0 and done.stdout.count("didn't change, skipping") == 2
    assert done.stdout == run("-m", "dvc", "repro").stdout
    assert file.read_bytes() == before
    (tmp_path / "made").unlink()  # as in a fresh clone; made again it is as before, and not noted
    shutil.rmtree(tmp_path / ".dvc" / "cache")
    file.write_text("stage,seconds,date\nslow,0.0,2023-11-15\n")
    assert "Updating lock file" not in timed().stdout
    assert [stage for stage, *_ in rows(file)] == ["stage", "slow"]
    assert float(rows(file)[1][1]) >= 0.4
