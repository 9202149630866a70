"""What the tests of faults share: a finished tiny run that none of them changes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.runner import shim
from tests.faults.tiny_project import DVC, PROJECT, Runner, new_project
from tests.processes import within


@pytest.fixture(scope="session")
def runner() -> Iterator[Runner]:
    """The server that commands run by, with a short name: that of a socket may have 100 letters."""
    with tempfile.TemporaryDirectory() as folder:
        address = Path(folder) / "socket"
        command = [sys.executable, "-m", "tests.faults.runner", str(address)]
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        with subprocess.Popen(command, cwd=PROJECT, env=env) as server:
            try:
                assert within(120, lambda: address.exists() or server.poll() is not None)
                yield Runner(address, shim(Path(folder) / "bin", address))
            finally:
                server.kill()


@pytest.fixture(scope="session")
def finished(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, made by DVC."""
    project = new_project(runner, tmp_path_factory.mktemp("tiny") / "finished")
    runner.succeed(project, *DVC)
    return project


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))
