"""A store of finished items, whose keys are everything that determines their content.

An item (one trained seed, one evaluated pair) is a folder named after the hash of its key:
settings, data, code and versions. It appears by one atomic rename, so a killed run leaves no
incomplete item, and deleting the store is safe.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from basins.errors import UserError

MANIFEST = "item.json"
SUMS = "SHA256SUMS"


class Store:
    """Finished items under one folder, by kind and hash of the key.

    The folder is `.cache`, or that in the environment variable BASINS_STORE, so that copies of a
    project, such as those of `dvc exp run --temp`, can share one.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or Path(os.environ.get("BASINS_STORE") or ".cache")

    def find(self, kind: str, key: dict[str, Any]) -> Path | None:
        """Return the folder of a finished item, or None.

        An item whose files have changed since they were written is reported and deleted.
        """
        folder = self.folder(kind, key)
        try:
            manifest = json.loads((folder / MANIFEST).read_text())
        except FileNotFoundError:
            return None
        except ValueError:
            manifest = None
        written = manifest.get("files") if isinstance(manifest, dict) else None
        if written and all(
            (folder / name).is_file() and file_hash(folder / name) == checksum
            for name, checksum in written.items()
        ):
            return folder
        print(f"{folder}: damaged, making it again", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        return None

    @contextmanager
    def making(self, kind: str, key: dict[str, Any]) -> Iterator[Path]:
        """Yield an empty folder to fill; on success it becomes the item, on failure it goes."""
        with whole_folder(self.folder(kind, key), self.root) as folder:
            yield folder
            files = {path.name: file_hash(path) for path in sorted(folder.iterdir())}
            manifest = {"key": key, "files": files}
            (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))

    def folder(self, kind: str, key: dict[str, Any]) -> Path:
        """Return the item's folder, which need not exist."""
        text = json.dumps(key, sort_keys=True)
        return self.root / kind / hashlib.sha256(text.encode()).hexdigest()[:32]


@contextmanager
def whole_folder(target: Path, scratch: Path = Path(".cache")) -> Iterator[Path]:
    """Yield an empty folder that replaces `target` on success and is removed on failure."""
    temporary = scratch / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    _sweep(temporary, "")
    folder = temporary / f"{_owner()}{uuid4().hex}"
    beside = target.with_name(f".{target.name}.{_owner()}")
    try:  # before the folder exists, since an interruption may follow at once
        folder.mkdir()
        yield folder
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent, f".{target.name}.")
        try:
            _replace(folder, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # The target is on another file system, to which a folder cannot be renamed.
            shutil.copytree(folder, beside)
            _replace(beside, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Yield a path in the folder of `target` to write to; it replaces `target` on success only."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target.parent, f".{target.name}.")
    partial = target.with_name(f".{target.name}.{_owner()}")
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def copy_item(item: Path, folder: Path) -> None:
    """Copy an item's files, without its manifest, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(item.iterdir()):
        if path.name != MANIFEST:
            shutil.copyfile(path, folder / path.name)


def seal(folder: Path) -> None:
    """Write the sha256 of every file of a finished folder into it, as for `sha256sum --check`.

    From then on `file_hash` and `folder_hash` raise `UserError` for a file that has changed.
    """
    lines = [f"{checksum}  {name}\n" for name, checksum in _hashes(folder)]
    (folder / SUMS).write_text("".join(lines))


def file_hash(path: Path) -> str:
    """Return the sha256 of a file.

    Raises `UserError` if the file has changed since a folder that contains it was sealed.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    for folder in path.parents:
        if _sums(folder).get(path.relative_to(folder).as_posix(), found) != found:
            raise UserError(
                f"{path}: damaged, its checksum is not that in {folder / SUMS}; "
                f"delete {folder} and run `dvc repro`"
            )
    return found


def folder_hash(folder: Path) -> str:
    """Return the sha256 of a folder's files, names included; raises `UserError` as `file_hash`."""
    lines = [f"{name} {checksum}" for name, checksum in _hashes(folder)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _hashes(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the sha256 of every file of a folder, except the list of checksums."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.name != SUMS:
            yield path.relative_to(folder).as_posix(), file_hash(path)


def _sums(folder: Path) -> dict[str, str]:
    """Return the checksums in a sealed folder; empty if it is not sealed."""
    try:
        lines = (folder / SUMS).read_text(errors="replace").splitlines()
    except OSError:
        return {}
    return {name: checksum for checksum, _, name in (line.partition("  ") for line in lines)}


def _replace(folder: Path, target: Path) -> None:
    """Rename `folder` to `target`, even if another process does the same at the same time."""
    while True:
        try:
            folder.rename(target)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        # Named after this process, so that it is removed later if the process is killed here.
        aside = Path(tempfile.mkdtemp(prefix=_owner(), dir=folder.parent))
        with suppress(FileNotFoundError):  # the other process has just moved it
            target.rename(aside)
        shutil.rmtree(aside)


def _owner() -> str:
    """Return the prefix of this process's temporary names; other machines may share the disk."""
    return f"{os.getpid()}-{socket.gethostname()}-"


def _sweep(folder: Path, prefix: str) -> None:
    """Remove what ended processes of this machine left in `folder` under names with `prefix`."""
    for path in folder.iterdir():
        process, _, rest = path.name.removeprefix(prefix).partition("-")
        here = path.name.startswith(prefix) and rest.rpartition("-")[0] == socket.gethostname()
        if here and process.isdigit() and not alive(int(process)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def alive(process: int) -> bool:
    """Return whether a process with that id runs on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
