"""The code that a result depends on: imported modules, and those chosen by name.

The keys of items in the store and of DVC's stages include the code of this closure. It is computed
by one function, so no list of dependencies has to be maintained.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from basins.errors import Edited, UserError

ROOT = Path(__file__).parents[1]
PLUMBING = {
    "basins.cluster": "where items are made, not what they contain",
    "basins.code": "this module: it determines which code counts",
    "basins.errors": "error messages",
    "basins.item": "finds and makes items; their classes determine the content",
    "basins.lock": "one run at a time",
    "basins.parallel": "where and in which order items are made",
    "basins.params": "reads and checks settings; `basins.settings` defines them",
    "basins.profiles": "writes params.yaml, which counts itself",
    "basins.registry": "finds a file by name; both file and name count",
    "basins.stopwatch": "times of stages",
    "basins.store": "where items are stored",
}
"""Modules whose changes do not alter results, each with the reason."""

Stamp = tuple[int, int, int]  # a file's time of change (ns), size (bytes) and inode


class Source(NamedTuple):
    """The relevant content of one module.

    Attributes:
        digest: of its syntax, without comments, docstrings and layout, and of non-Python files in
            its folder.
        imports: the project's modules that it imports, not only for type checkers.
        rooms: the packages from which it chooses files by name.
        strings: its string constants, which may be names of files that it chooses.
    """

    digest: str
    imports: tuple[str, ...]
    rooms: tuple[str, ...]
    strings: frozenset[str]


def closure(roots: Iterable[str], settings: Any = ()) -> dict[str, str]:
    """Return the digest of every module reachable from `roots`, by name and sorted.

    From a package that a module chooses from, it includes the files whose names occur in `settings`
    under a key `name`, at any depth, or as constants of the module; or all files, if `settings`
    names none of them, and none if it is None. Raises `UserError` if a module cannot be parsed.
    """
    return dict(_closure(tuple(roots), frozenset(_names(settings)), settings is not None))


@cache
def _closure(roots: tuple[str, ...], named: frozenset[str], whole: bool) -> Mapping[str, str]:
    digests: dict[str, str] = {}
    waiting = [*roots]
    while waiting:
        name = waiting.pop()
        if name in digests or name in PLUMBING:
            continue
        source = read(name)
        digests[name] = source.digest
        waiting += source.imports
        for room in source.rooms:
            files = _files(room)
            some = files & named or not whole
            wanted = files & (named | source.strings) if some else files
            waiting += [f"basins.{room}.{file}" for file in wanted]
    return dict(sorted(digests.items()))


def identity(roots: Iterable[str], settings: Any = ()) -> str:
    """Return one digest of a `closure`."""
    return hashlib.sha256(json.dumps(closure(roots, settings)).encode()).hexdigest()


@cache
def read(name: str) -> Source:
    """Return the `Source` of the module `name`, `basins.<package>.<file>` or `stages.<file>`.

    Nothing is imported. Raises `UserError` if the file is missing or cannot be parsed.
    """
    file = _file(name)
    try:
        tree = ast.parse(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: not readable ({error.strerror})") from None
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UserError(f"{file}{line}: cannot be parsed ({error.args[0]})") from None
    nodes = list(_executed(tree))
    bound = _bound(nodes)
    imports, rooms, strings = [], [], set()
    for node in nodes:
        if isinstance(node, ast.Import):
            imports += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            imports += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            strings.add(node.value)
        elif isinstance(node, ast.Call) and _called(node.func) in bound:
            first = node.args[0] if node.args else None
            if not (isinstance(first, ast.Constant) and isinstance(first.value, str)):
                raise UserError(f"{file}, line {node.lineno}: give the package as a plain string")
            rooms.append(first.value)
    ours = [ours for name in imports if (ours := _ours(name, file))]
    beside = sorted(path for path in file.parent.iterdir() if path.suffix not in ("", ".py"))
    beside = beside if file.parent not in (ROOT / "basins", ROOT / "stages") else []
    digest = hashlib.sha256(_syntax(tree).encode())
    for path in beside:
        digest.update(path.name.encode() + path.read_bytes())
    _counted.update([file, *beside])
    return Source(
        digest.hexdigest()[:16],
        tuple(dict.fromkeys(ours)),
        tuple(dict.fromkeys(rooms)),
        frozenset(strings),
    )


def check() -> None:
    """Raise `Edited` if a file that `read` has counted was changed since the start of the run.

    The modules in memory are then not those on the disk, and keys of the store would name the
    wrong ones.
    """
    for file in _counted & started.keys():
        if _stamp(file) != started[file]:
            raise Edited(f"{file}: edited during the run; start it again (finished items are kept)")


def _stamp(file: Path) -> Stamp | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _names(settings: Any) -> Iterator[str]:
    """Yield the values of all keys `name`, at any depth."""
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            if key == "name" and isinstance(value, str):
                yield value
            yield from _names(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from _names(value)


def _files(room: str) -> set[str]:
    folder = ROOT / "basins" / room.replace(".", "/")
    return {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}


def _file(name: str) -> Path:
    path = ROOT / name.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _ours(name: str, file: Path) -> str | None:
    """Return an imported name as a module of the project, or None if it is not one."""
    beside = f"stages.{name}" if file.parent == ROOT / "stages" else name  # stages share code
    for module in (name, beside):
        if module.startswith(("basins.", "stages.")) and _file(module).is_file():
            return module
    return None


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield all descendant nodes, except those only for type checkers."""
    waiting = [tree]
    while waiting:
        for child in ast.iter_child_nodes(waiting.pop()):
            if not (isinstance(child, ast.If) and _called(child.test) == "TYPE_CHECKING"):
                yield child
                waiting.append(child)


def _bound(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the module's names of the registry's functions that choose a file of a package."""
    offers = ("find", "module", "names")
    bound = {f"registry.{name}" for name in offers}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module == "basins.registry":
            bound |= {alias.asname or alias.name for alias in node.names if alias.name in offers}
    return bound


def _called(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_called(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _syntax(node: Any) -> str:
    """Return a tree as text without positions and empty fields, equal in all Python versions."""
    if isinstance(node, list):
        return f"[{','.join(map(_syntax, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = []
    for field in node._fields:
        value = getattr(node, field, None)
        if field == "body" and isinstance(value, list):
            value = [statement for statement in value if not _is_docstring(statement)]
        if value is not None and value != [] and field not in ("kind", "type_comment"):
            parts.append(f"{field}={_syntax(value)}")
    return f"{type(node).__name__}({','.join(parts)})"


def _is_docstring(node: ast.stmt) -> bool:
    """Return whether a statement is a bare string, which documents its neighbour."""
    return isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str)


# A worker has those of the process that started it, whose modules may be older than its own.
started: dict[Path, Stamp | None] = {
    path: _stamp(path)
    for room in ("basins", "stages")
    for path in (ROOT / room).rglob("*.*")
    if path.suffix != ".pyc"
}
_counted: set[Path] = set()
