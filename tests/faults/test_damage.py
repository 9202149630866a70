"""A flipped bit is found by checksum and named, and what it hit is made again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.faults import tiny_project as tiny
from tests.projects import Runner

pytestmark = pytest.mark.pipeline

MODEL, ARROW = "models/plain/seed0/model.safetensors", "data/shapes/nc/data-00000-of-00001.arrow"


def flip(file: Path, unseen: bool = False) -> None:
    """Flip one bit near the end of a file; `unseen`: as a disk does it, so that its time is kept.

    A safetensors or Arrow file still opens.
    """
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[-len(content) // 8] ^= 1
    with file.open("r+b") as opened:
        opened.write(content)
    if unseen:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("file", "stage"), [(MODEL, "connect pairs"), (MODEL, "probe"), (ARROW, "connect pairs")]
)
def test_no_stage_uses_a_damaged_input(file: str, stage: str, runner: Runner, copy: Path) -> None:
    flip(copy / file)
    before = tiny.content(copy)
    line = runner.refuse(copy, *tiny.script(stage))
    folder = "/".join(file.split("/")[:2])
    assert f"{file}: damaged" in line and f"delete {folder} and run `dvc repro`" in line
    assert tiny.content(copy) == before


def test_what_dvc_sees_it_has_made_again(runner: Runner, finished: Path, copy: Path) -> None:
    results = copy / "reports" / "tiny" / "results"
    tables = [results / "connect" / "pairs.csv", results / "paths.csv.gz"]
    files = [copy / MODEL, copy / ARROW, *tables]
    files += [next((copy / "losses" / "pairs").iterdir()), copy / "reports/tiny/figures/paths.svg"]
    for file in files:
        flip(file)
    lock = copy / "dvc.lock"  # one digit of one checksum
    name, _, digits = lock.read_text().partition("md5: ")
    lock.write_text(f"{name}md5: {'0' if digits[0] != '0' else '1'}{digits[1:]}")
    runner.succeed(copy, *tiny.DVC)
    assert tiny.content(copy) == tiny.content(finished)


def test_what_dvc_does_not_see_is_made_again_as_the_line_says(
    runner: Runner, finished: Path, copy: Path
) -> None:
    flip(copy / MODEL, unseen=True)
    done = runner.run(copy, *tiny.DVC, "--force", "--single-item", "connect@pairs")
    assert done.returncode and f"error: {MODEL}: damaged" in done.stderr
    shutil.rmtree(copy / "models" / "plain")
    runner.succeed(copy, *tiny.DVC)
    assert tiny.content(copy) == tiny.content(finished)


def test_every_kind_of_item_is_checked_before_it_is_used(
    runner: Runner, finished: Path, copy: Path
) -> None:
    items = [item.parent for item in tiny.items(copy)]
    for item in items:
        flip(next(file for file in item.iterdir() if file.name != "item.json"))
    stages = ("train plain", "train cued", "connect pairs", "probe")
    said = "".join(runner.succeed(copy, *tiny.script(stage)) for stage in stages)
    for item in items:
        assert f"{item.relative_to(copy)}: damaged, making it again" in said
    assert tiny.content(copy) == tiny.content(finished)


def test_files_of_the_future_change_nothing(runner: Runner, finished: Path, copy: Path) -> None:
    """As they are when the clock was set back after a run."""
    remade = copy / "reports" / "tiny" / "figures"
    shutil.rmtree(remade)
    for path in copy.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (2**32, 2**32))
    items = tiny.items(copy)
    runner.succeed(copy, *tiny.DVC)
    assert tiny.content(copy) == tiny.content(finished)
    assert tiny.items(copy) == items
