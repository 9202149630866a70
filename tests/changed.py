"""What `make check` does: lint, and the types and tests of what changed, in 90 seconds.

    python -m tests.changed [ROOM]

Without a room that is what differs from `main`. A test is of a changed module if it comes to it by
imports, or by the names it has of files in rooms. The nearest are run first. All but the nearest
`FILES`, what would begin after `SECONDS`, and the tests of the whole pipeline are left to
`make test`; how many files and tests that is is said.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

from basins.errors import UserError, one_line

PROJECT = Path(__file__).parents[1]
TESTS = PROJECT / "tests"
SECONDS, FILES = 70, 20


def main(room: str) -> None:
    """End with a code other than 0 where anything is amiss."""
    began = time.time()
    files = of_room(room) if room else changed()
    modules = [name for file in files if (name := module(file))]
    every = distances(modules, [file for file in files if is_test(file)])
    chosen = [*every][:FILES]
    left = len(every) - len(chosen)
    print(
        f"{len(files)} files; {len(chosen)} files of tests, and {left} further away: make test",
        flush=True,
    )
    python = [file for file in files if file.suffix == ".py" and file.is_file()]
    failed = [run("ruff", "check", "."), run("ruff", "format", "--check", "-q", ".")]
    failed.append(run("lint-imports", "--no-logo") if modules else 0)
    typed = [str(file) for file in python if file.parts[0] in ("basins", "stages", "benchmarks")]
    types = subprocess.Popen(["pyright", *typed], cwd=PROJECT, env=BUNDLED) if typed else None
    if chosen:
        given = ["--numprocesses=2", "--dist=loadfile", "--no-loadscope-reorder", "-mnot pipeline"]
        deadline = str(began + SECONDS)
        failed.append(run("pytest", *given, *map(str, chosen), BASINS_DEADLINE=deadline))
    failed.append(types.wait() if types else 0)
    print(f"{time.time() - began:.0f} s; everything: make test")
    sys.exit(int(any(failed)))


BUNDLED = {**os.environ, "PYRIGHT_PYTHON_USE_BUNDLED_PYRIGHT": "1"}


def run(*command: str, **more: str) -> int:
    """Return the code of a command; pytest's for no tests at all is none."""
    done = subprocess.run(command, cwd=PROJECT, env={**os.environ, **more}).returncode
    return 0 if command[0] == "pytest" and done == 5 else done


def changed() -> list[Path]:
    """Return the files that differ from where this branch left `main`, and new ones."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else ""

    base = git("merge-base", "HEAD", "main").strip() or "HEAD"
    names = git("diff", "--name-only", base) + git("ls-files", "--others", "--exclude-standard")
    return [Path(name) for name in dict.fromkeys(names.splitlines())]


def of_room(room: str) -> list[Path]:
    """Return the files of a room, as `merges`, or a module, as `merges/ties`, and its tests."""
    folder = Path(room)
    places = [Path("basins") / folder, Path("stages") / folder, TESTS.name / folder]
    tests = TESTS.name / folder.parent / f"test_{folder.name}.py"
    files = [file for place in places for file in (PROJECT / place).glob("**/*.py")]
    files += [PROJECT / place.with_suffix(".py") for place in places] + [PROJECT / tests]
    found = [file.relative_to(PROJECT) for file in files if file.is_file()]
    if not found or ".." in folder.parts:
        raise UserError(f"ROOM={room}: no room or module; rooms: {', '.join(sorted(ROOMS))}")
    return found


def module(file: Path) -> str | None:
    """Return the name of a module of the project, None of any other file."""
    if file.suffix == ".py" and file.parts[0] in ("basins", "stages"):
        return ".".join(file.with_suffix("").parts).removesuffix(".__init__")
    return None


def is_test(file: Path) -> bool:
    return file.parts[0] == "tests" and file.name.startswith("test_") and file.suffix == ".py"


def distances(modules: list[str], tests: list[Path]) -> dict[Path, int]:
    """Return how far each test file is that comes to one of the modules, the nearest first.

    The `tests` themselves and those named after a module are at 0, those that import one at 1.
    """
    found = {file: 0 for file in tests if (PROJECT / file).is_file()}
    for file in sorted(TESTS.rglob("test_*.py")):
        name = file.relative_to(PROJECT)
        if name not in found and (steps := distance(name, set(modules))) is not None:
            found[name] = steps
    return dict(sorted(found.items(), key=lambda item: item[1]))


def distance(test: Path, wanted: set[str]) -> int | None:
    """Return over how many imports a test comes to one of the modules, None where it does not."""
    start = ".".join(test.with_suffix("").parts)
    seen, ring, steps = {start}, [start], 0
    mirrored = {f"{name.rpartition('.')[0]}.test_{name.rpartition('.')[2]}" for name in wanted}
    if start.replace("tests", "basins", 1) in mirrored:
        return 0
    while ring:
        steps += 1
        reached = {to for name in ring for to in comes_to(name)} - seen
        if reached & wanted:
            return steps
        seen |= reached
        ring = sorted(reached)
    return None


@cache
def comes_to(name: str) -> set[str]:
    """Return what a module imports, runs by its path, or chooses from a room by a name it has.

    To a test also belongs what its `conftest.py` comes to.
    """
    file = PROJECT.joinpath(*name.split(".")).with_suffix(".py")
    tree = ast.parse((file if file.exists() else file.with_suffix("") / "__init__.py").read_text())
    names, strings = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            strings.add(node.value)
    names |= {f"stages.{stage}" for text in strings for stage in SCRIPT.findall(text)}
    names |= {f"stages.{name}" for name in names if name.isidentifier()}
    if "basins.registry" in names:
        names |= {f"basins.{room}.{one}" for room in strings & ROOMS for one in strings}
    if name.startswith("tests."):
        names.add(f"{name.rpartition('.')[0]}.conftest")
    return names & MODULES


def modules_of(folder: str) -> set[str]:
    files = (file.relative_to(PROJECT) for file in (PROJECT / folder).rglob("*.py"))
    return {".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files}


SCRIPT = re.compile(r"^stages/(\w+)\.py")
MODULES = modules_of("basins") | modules_of("stages") | modules_of("tests")
ROOMS = {path.parent.name for path in (PROJECT / "basins").glob("*/__init__.py")}


if __name__ == "__main__":
    with one_line():
        main(sys.argv[1] if len(sys.argv) > 1 else "")
