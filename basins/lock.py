"""The lock that allows one run at a time in a checkout, and ends with its process."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

from basins.errors import UserError
from basins.store import alive

FOLDER = Path(".dvc/tmp")


def take(what: str) -> int:
    """Lock this checkout until this process, or what it becomes by `exec`, ends.

    `what` describes the work to others. Returns the lock's file descriptor. Raises `UserError`
    that names the holder, which may be DVC started by hand.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    lock = os.open(FOLDER / "basins.lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _busy(os.read(lock, 1000).decode()) from None
    for holder in _of_dvc():
        raise _busy(f"`{holder['cmd']}` (process {holder['pid']})")
    os.ftruncate(lock, 0)
    os.write(lock, f"{what} (process {os.getpid()}, since {time.ctime()})".encode())
    os.set_inheritable(lock, True)
    return lock


def _busy(holder: str) -> UserError:
    return UserError(
        f"{Path.cwd()} is in use by {holder or 'another run'}; nothing was changed: wait for its "
        "end, or work in another checkout"
    )


def _of_dvc() -> list[dict]:
    """Return the live processes that DVC has recorded as using files of this checkout."""
    notes = FOLDER / "rwlock"
    try:
        noted = json.loads(notes.read_text())["write"].values()
    except FileNotFoundError:
        return []
    except (ValueError, LookupError):
        notes.unlink()  # damaged when DVC was killed; it would block later runs
        return []
    return [holder for holder in noted if alive(holder["pid"])]
