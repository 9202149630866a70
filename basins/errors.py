"""Errors for the user: one line that says what is wrong, where, and what to do."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A one-line error message: what is wrong, where, and what to do about it.

    Unprintable characters, such as line breaks or terminal codes in a name, are escaped as in
    Python.
    """

    def __init__(self, line: str) -> None:
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in line))


class Edited(UserError):
    """The code was edited during the run, so no further item can be made in it."""


def explained(error: BaseException) -> str | None:
    """Return the message for a foreseeable failure, or None for a defect of the program.

    Foreseeable are `UserError`, a full, read-only or failing disk, missing permissions, and too
    little memory.
    """
    if isinstance(error, UserError):
        return str(error)
    number = getattr(error, "errno", None) or _of_rust(error)
    where = f"{file}: " if (file := getattr(error, "filename", None)) else ""
    if isinstance(error, MemoryError) or number == errno.ENOMEM or _of_torch(error):
        return (
            "out of memory: use fewer processes (`workers` in params.yaml, `--jobs` of `basins`) "
            "and run the same command again; finished items are kept"
        )
    if number in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"{where}no space left on the disk: free some and run the same command again; "
            "finished items are kept"
        )
    if number in (errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO):
        return (
            f"{where}{os.strerror(number).lower()}: fix this and run the same command again; "
            "finished items are kept"
        )
    return None


def _of_rust(error: BaseException) -> int | None:
    """Return the errno in the message of an error from a Rust library (safetensors), or None."""
    number = re.search(r"\(os error (\d+)\)", str(error))
    return int(number[1]) if number else None


def _of_torch(error: BaseException) -> bool:
    """Return whether torch ran out of memory, which on a CPU is a plain RuntimeError."""
    named = type(error).__name__ == "OutOfMemoryError"
    return isinstance(error, RuntimeError) and (named or "allocate memory" in str(error))


@contextmanager
def one_line() -> Iterator[None]:
    """End the process with one line on stderr and a non-zero exit code on foreseeable failures.

    These are those of `explained`, and an interruption; anything else is a defect of the program
    and keeps its traceback.
    """
    try:
        yield
    except KeyboardInterrupt:
        print(
            "interrupted: finished items are kept; run the same command to continue",
            file=sys.stderr,
        )
        sys.exit(130)
    except Exception as error:
        if (line := explained(error)) is None:
            raise
        sys.exit(f"error: {line}")
