"""What the tests of faults share: a finished tiny run that none of them changes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.faults.tiny_project import DVC, new_project
from tests.projects import Runner


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
