"""The provenance of a run's results: code, data, versions, machine."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from basins import devices

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "datasets", "dvc")


def provenance(
    datasets: Iterable[Path], experiments: Iterable[Path], device: Literal["auto", "cpu", "cuda"]
) -> dict[str, Any]:
    """Return commit, data checksums, versions and device; nothing in it changes from run to run.

    `datasets` are the files of checksums that the data stage writes, and `experiments` those of the
    second computation of losses that `connect` writes.
    """
    return {
        "commit": _commit(),
        "data": {file.stem: json.loads(file.read_text()) for file in datasets},
        "device": devices.identity(devices.pick(device))["device"],
        "processor": devices.processor(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
        "double_entry": {
            file.stem: json.loads(file.read_text())["double_entry"]
            for file in experiments
            if file.is_file()  # rows of before it was kept
        },
    }


def _commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    changed = git("status", "--porcelain", "--", "basins", "stages", "dvc.yaml")
    return (git("rev-parse", "HEAD") or "not in git") + (" with local changes" if changed else "")
