"""Nothing waits for a library that it does not need: importing torch takes longer than they do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "sklearn")
SCRIPTS = """
import runpy
import sys
sys.path.insert(0, "stages")
from basins.params import read
for name in ("check", "claims", "clusters", "data", "figures", "report"):
    runpy.run_path(f"stages/{name}.py")
read(check=["claims", "data", "figures", "tables"])
"""


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        pytest.param(SCRIPTS, (), id="stages that compute with no network"),
        pytest.param("import basins.parallel", (), id="parallel, whose server imports meanwhile"),
        pytest.param("import basins.devices", ("torch",), id="devices"),  # that this test can fail
    ],
)
def test_what_is_imported_of_the_heavy_libraries(code: str, heavy: tuple[str, ...]) -> None:
    shown = f"{code}\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", shown], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert tuple(done.stdout.split()) == heavy
