"""A pipeline that runs in seconds, made once and broken in copies."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from basins import results
from tests.projects import PROJECT, Runner, commit, lay_out, succeed

HERE = Path(__file__).parent
DVC = ("-m", "dvc", "repro")
# In the order of the pipeline, with what each writes.
STAGES = {
    "data shapes": ["data/shapes", "reports/tiny/results/data"],
    "train plain": ["models/plain", "reports/tiny/results/models/plain.json"],
    "train cued": ["models/cued", "reports/tiny/results/models/cued.json"],
    "connect pairs": [
        "losses/pairs",
        "reports/tiny/results/connect",
        "reports/tiny/results/outcomes",
    ],
    "probe": ["reports/tiny/results/probe"],
    "analyze": ["reports/tiny/results/summary", "reports/tiny/provenance.json"],
    "claims": ["reports/tiny/claims.json", "reports/tiny/metrics.json"],
    "figures": ["reports/tiny/figures"],
    "report": ["reports/tiny/tables", "reports/tiny/models.md", "reports/tiny/index.html"],
}
NOT_OURS = (".git", ".dvc", "__pycache__", "seconds.csv")  # the last differs from run to run


def script(stage: str) -> tuple[str, ...]:
    """Return the command of a stage, without DVC."""
    name, *key = stage.split()
    return (f"stages/{name}.py", *key)


def new_project(runner: Runner, folder: Path, profile: Path = HERE / "tiny.yaml") -> Path:
    """Make a project of nothing but code, switched to a profile of the tests."""
    lay_out(folder)
    shutil.copy(PROJECT / ".dvc" / ".gitignore", folder / ".dvc")
    shutil.copy(profile, folder / "profiles")
    succeed(folder, "git", "init", "--quiet")
    commit(folder)
    runner.succeed(folder, "stages/switch.py", profile.stem, "--discard")
    return folder


def without(finished: Path, folder: Path, *stages: str) -> None:
    """Copy a finished project, without the outputs of some stages, and with no store."""
    shutil.copytree(finished, folder, symlinks=True)
    shutil.rmtree(folder / ".cache")
    for stage in stages:
        for name in STAGES[stage]:
            remove(folder / name)


def unmade(finished: Path, folder: Path) -> None:
    """Copy a finished project as it was before its first stage."""
    without(finished, folder, *STAGES)
    for name in (".dvc/cache", ".dvc/tmp", "dvc.lock", "reports/tiny"):
        remove(folder / name)
    for kind in results.KINDS:
        (folder / "reports" / "tiny" / "results" / kind).mkdir(parents=True)


def remove(path: Path) -> None:
    """Remove a file or a folder."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def content(project: Path) -> dict[str, str]:
    """Return the hash of every file that the project's own code has written, by name.

    Empty folders are there too, and of the store the items' names, which tell what they hold.
    """
    return dict(_content(project, project))


def _content(folder: Path, project: Path) -> Iterator[tuple[str, str]]:
    for path in folder.iterdir():
        name = path.relative_to(project).as_posix()
        if path.name in NOT_OURS:
            continue
        if path.is_dir():
            yield name, "folder"
            yield from _content(path, project)
        else:
            yield name, "" if name.startswith(".cache/") else _hash(path)


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def items(project: Path) -> dict[Path, int]:
    """Return the finished items of the store, with when they were made."""
    found = (project / ".cache").glob("*/*/item.json")
    return {path: path.stat().st_mtime_ns for path in found if path.parts[-3] != "tmp"}


def group_is_gone(number: int) -> bool:
    """Tell whether no process of a group runs; those that nobody has reaped yet do not."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, _, fields = status.read_text().rpartition(") ")
        except OSError:
            continue
        state, _, group, *_ = fields.split()
        if int(group) == number and state != "Z":
            return False
    return True
