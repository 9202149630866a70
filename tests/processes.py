"""Waiting for other processes and for what they write, never without a limit."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from subprocess import Popen

from tests.runner import LIMIT


def within(seconds: float, happened: Callable[[], bool]) -> bool:
    """Wait until something has happened, so long at most; tell whether it has."""
    end = time.monotonic() + seconds
    while not (now := happened()) and time.monotonic() < end:
        time.sleep(0.005)
    return bool(now)


def first_line(process: Popen, limit: float = LIMIT) -> str:
    """Return the first line that a process prints, empty if it ends without one."""
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], limit)[0], f"{process.args}: silent"
    line = process.stdout.readline()
    return line if isinstance(line, str) else line.decode()
