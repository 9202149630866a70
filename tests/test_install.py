"""`make` sets up `.venv` by itself; what goes wrong is one line, and the next try works."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import within

PROJECT = Path(__file__).parents[1]
# A module `venv` before Python's: what it makes is a shell script that logs and does as it is bid.
VENV = """
import os, pathlib
python = pathlib.Path(".venv/bin/python")
python.parent.mkdir(parents=True)
script = ["#!/bin/sh", 'echo "$@" >> calls', 'case "$*" in *"-r "*) eval "$PIP_DOES";; esac']
python.write_text("\\n".join(script))
python.chmod(0o755)
"""


def outside_make() -> dict[str, str]:
    """Return the environment without what `make test` hands down to another make."""
    handed = ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "PYTHON", "PROFILE", "TORCH")
    return {name: value for name, value in os.environ.items() if name not in handed}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml", ".ci"):
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy
        copy(PROJECT / name, folder / name)
    (tmp_path / "fakes").mkdir()
    (tmp_path / "fakes" / "venv.py").write_text(VENV)
    return folder


def make(checkout: Path, *words: str, pip: str = "true") -> subprocess.CompletedProcess[str]:
    given = {**outside_make(), "PYTHONPATH": str(checkout.parent / "fakes"), "PIP_DOES": pip}
    command = ("make", "--no-print-directory", f"PYTHON={sys.executable}", *words)
    return subprocess.run(command, cwd=checkout, env=given, capture_output=True, text=True)


def refuse(checkout: Path, *words: str, pip: str = "true") -> str:
    done = make(checkout, *words, pip=pip)
    line, after = done.stderr.strip().splitlines()
    assert done.returncode and line.startswith("error: ") and after.startswith("make: ***")
    return line


def calls(checkout: Path) -> int:
    """Return how often pip was called, and forget it."""
    file = checkout / "calls"
    count = file.read_text().count("pip install") if file.exists() else 0
    file.unlink(missing_ok=True)
    return count


def test_it_is_installed_once_until_what_is_pinned_changes(checkout):
    assert make(checkout, "installed").returncode == 0 and calls(checkout) == 2
    assert make(checkout, "installed").stdout == "" and calls(checkout) == 0
    os.utime(checkout / "requirements.lock")  # as git does, with nothing new in it
    with (checkout / "pyproject.toml").open("a") as file:
        file.write("\n[tool.other]\n")
    make(checkout, "installed")
    assert calls(checkout) == 0
    with (checkout / "requirements.lock").open("a") as file:
        file.write("more==1\n")
    make(checkout, "installed")
    assert calls(checkout) == 2


@pytest.mark.parametrize(
    ("says", "line"),
    [
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "no space left"),
        ("NewConnectionError: Failed to establish a new connection", "no package index is reached"),
        ("WARNING: Temporary failure in name resolution", "no package index is reached"),
        ("ERROR: ResolutionImpossible: for help see dependency resolution", "ResolutionImpossible"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "DO NOT MATCH THE HASHES"),
    ],
)
def test_a_failed_installation_is_one_line_and_the_next_try_works(checkout, says, line):
    assert line in refuse(checkout, "installed", pip=f"echo '{says}' >&2; exit 1")
    assert make(checkout, "installed").returncode == 0
    assert make(checkout, "installed").stdout == ""


def test_an_interrupted_or_killed_installation_begins_anew(checkout):
    for number in (signal.SIGINT, signal.SIGKILL):
        given = {"PYTHONPATH": str(checkout.parent / "fakes"), "PIP_DOES": "sleep 60"}
        process = subprocess.Popen(
            [sys.executable, ".ci/install.py"],
            cwd=checkout,
            env={**os.environ, **given},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        try:
            assert within(60, (checkout / "calls").exists)
        finally:
            os.killpg(process.pid, number)
        _, said = process.communicate(timeout=30)
        assert process.returncode
        if number == signal.SIGINT:
            assert said.splitlines()[-1].startswith("error: the installation was interrupted")
            assert len(said.splitlines()) == 1
        calls(checkout)
    assert make(checkout, "installed").returncode == 0 and calls(checkout) == 2


def test_what_is_left_of_another_python_is_made_again(checkout):
    make(checkout, "installed")
    calls(checkout)
    (checkout / ".venv" / "bin" / "python").unlink()  # of a Python that is no more
    (checkout / ".venv" / "bin" / "python").symlink_to("/nowhere/python3.9")
    assert make(checkout, "installed").returncode == 0 and calls(checkout) == 2
    shutil.rmtree(checkout / ".venv")
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "half").touch()
    assert make(checkout, "installed").returncode == 0 and calls(checkout) == 2
    assert not (checkout / ".venv" / "half").exists()


def test_a_link_to_an_environment_of_others_is_never_changed(checkout, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "kept").touch()
    (checkout / ".venv").symlink_to(tmp_path / "theirs")
    assert ".venv is a link to" in refuse(checkout, "installed")
    assert (tmp_path / "theirs" / "kept").exists() and calls(checkout) == 0


def test_torch_for_cpus_leaves_out_what_is_for_gpus(checkout):
    assert "may be cpu" in refuse(checkout, "installed", "TORCH=gpu; touch pwned")
    missing = "echo 'ERROR: No matching distribution found for torch==2+cpu' >&2; exit 1"
    assert "PIP_EXTRA_INDEX_URL" in refuse(checkout, "installed", "TORCH=cpu", pip=missing)
    assert make(checkout, "installed", "TORCH=cpu").returncode == 0
    lines = (checkout / ".venv" / "requirements.txt").read_text()
    assert "+cpu\n" in lines and "nvidia" not in lines and "triton" not in lines
    calls(checkout)
    make(checkout, "installed")  # what is installed serves whoever does not choose
    assert calls(checkout) == 0


@pytest.mark.parametrize(
    "name", ["x; touch pwned", "$(shell touch pwned)", "`touch pwned`", "a'b", "", "../x", "a b"]
)
def test_a_profile_with_odd_characters_reaches_no_shell(checkout, name):
    assert f"PROFILE={name}: " in refuse(checkout, "repro", f"PROFILE={name}")
    assert not (checkout / "pwned").exists() and not (checkout / ".venv").exists()


def test_a_python_that_is_too_old_is_refused(checkout, tmp_path):
    code = "import runpy, sys; sys.version_info = (3, 10); sys.version = '3.10.4 (main)'; "
    code += "sys.argv = ['install.py']; runpy.run_path('.ci/install.py', run_name='__main__')"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    assert done.returncode and "3.11 or newer is needed, and this is 3.10.4" in done.stderr
    assert not (checkout / ".venv").exists()
