"""dvc.yaml tells the truth about what every stage reads."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from ruamel.yaml import YAML

PROJECT = Path(__file__).parents[1]
STAGES = YAML(typ="safe").load((PROJECT / "dvc.yaml").read_text())["stages"]

# Plumbing that carries results without deciding any: changing it reruns nothing.
PLUMBING = {
    "basins/cluster.py",
    "basins/errors.py",
    "basins/params.py",
    "basins/parallel.py",
    "basins/profiles.py",
    "basins/registry.py",
    "basins/results.py",
    "basins/settings.py",
    "basins/store.py",
}


def imported(file: Path) -> set[Path]:
    """Return the files of the project that a file imports by name."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            ours = name if name.startswith("basins.") else f"stages.{name}"  # stages share code
            path = (PROJECT / ours.replace(".", "/")).with_suffix(".py")
            if path.exists():
                found.add(path)
    return found


def closure(file: Path) -> set[str]:
    seen: set[Path] = set()
    waiting = [file]
    while waiting:
        for path in imported(waiting.pop()) - seen:
            seen.add(path)
            waiting.append(path)
    return {path.relative_to(PROJECT).as_posix() for path in seen}


@pytest.mark.parametrize("stage", STAGES)
def test_every_module_that_a_stage_imports_is_declared(stage):
    deps = STAGES[stage].get("do", STAGES[stage])["deps"]
    needed = closure(PROJECT / "stages" / f"{stage}.py") - PLUMBING
    missing = {n for n in needed if not any(n == d or n.startswith(f"{d}/") for d in deps)}
    assert not missing, f"{stage}: add to deps: {sorted(missing)}"


@pytest.mark.parametrize("stage", STAGES)
def test_every_declared_file_exists(stage):
    for dep in STAGES[stage].get("do", STAGES[stage])["deps"]:
        if "${" not in dep and dep.startswith(("basins", "stages")):
            assert (PROJECT / dep).exists(), dep


def test_every_stage_script_says_what_it_does():
    for script in (PROJECT / "stages").glob("*.py"):
        docstring = ast.get_docstring(ast.parse(script.read_text()))
        assert docstring and docstring.endswith("."), script
