"""Copies of the project in folders of tests, and what runs commands in them."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from contextlib import chdir
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.runner import LIMIT, Running

PROJECT = Path(__file__).parents[1]
BY_HAND = ("basins", "stages", "profiles", "params.yaml", "dvc.yaml", ".dvc/config", ".dvcignore")
BY_HAND = (*BY_HAND, ".dvc/plots", "reports/published")


def environment(project: Path, **more: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(project), **more}


def run(project: Path, *command: str, **more: str) -> CompletedProcess[str]:
    return subprocess.run(
        command, cwd=project, env=environment(project, **more), capture_output=True, text=True
    )


def succeed(project: Path, *command: str) -> str:
    done = run(project, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def refuse(project: Path, *command: str, **more: str) -> str:
    """Return the one line that a command ends with, after checking that it is one."""
    done = run(project, *command, **more)
    assert done.returncode != 0
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def stage(folder: Path, script: str, *arguments: str, **more: str) -> object:
    """Run a stage in a folder, as the main script of this process; return what it exits with.

    That is None where it succeeds, and the line that it would end with where it refuses. Another
    process would take seconds to import what is here already.
    """
    with pytest.MonkeyPatch.context() as patch, chdir(folder):
        patch.setattr(sys, "argv", [script, *arguments])
        for name, value in more.items():
            patch.setenv(name, value)
        try:
            runpy.run_path(str(PROJECT / script), run_name="__main__")
        except SystemExit as error:
            return error.code
    return None


def lay_out(folder: Path) -> None:
    """Copy what was written by hand, and nothing that was made."""
    for name in BY_HAND:
        source, target = PROJECT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    for name in ("data", "models", "losses"):
        (folder / name).mkdir()
        shutil.copy(PROJECT / name / ".gitignore", folder / name)
    shutil.copy(PROJECT / ".gitignore", folder)


def commit(project: Path) -> None:
    author = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    succeed(project, "git", "add", "--all")
    succeed(project, "git", *author, "commit", "--quiet", "--message", "as it is")


def edit(project: Path, old: str, new: str, file: str = "params.yaml") -> None:
    text = (project / file).read_text()
    assert old in text
    (project / file).write_text(text.replace(old, new))


class Runner:
    """What runs `python ...` in a project by the server at `address`; `path` has it for DVC."""

    def __init__(self, address: Path, path: Path) -> None:
        self.address, self.path = address, path

    def start(self, project: Path, *command: str, said: int | None = None, **more: str) -> Running:
        """Start a command in a session of its own; what it says goes to the file `said`."""
        path = f"{self.path}{os.pathsep}{os.environ['PATH']}"
        given = environment(project, **{"PATH": path, "OMP_NUM_THREADS": "1", **more})
        with open(os.devnull, "w") as nowhere:
            output = nowhere.fileno() if said is None else said
            return Running(self.address, command, project, given, [output, output])

    def run(
        self, project: Path, *command: str, limit: float = LIMIT, **more: str
    ) -> CompletedProcess[str]:
        """Run a command to its end, within `limit` seconds; both its outputs are `stderr`."""
        with tempfile.TemporaryFile("w+") as said:
            code = self.start(project, *command, said=said.fileno(), **more).wait(limit)
            said.seek(0)
            return CompletedProcess(command, code, "", said.read())

    def succeed(self, project: Path, *command: str) -> str:
        """Return what a command says, which is to succeed; it may be a whole run."""
        done = self.run(project, *command, limit=10 * LIMIT)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def refuse(self, project: Path, *command: str, **more: str) -> str:
        """Return the one line that a command ends with, after checking that it is one."""
        done = self.run(project, *command, **more)
        lines = done.stderr.strip().splitlines()
        assert done.returncode > 0 and len(lines) == 1 and lines[0].startswith("error: "), done
        return lines[0]
