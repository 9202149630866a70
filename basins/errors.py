"""Errors meant for the person at the keyboard: one line that says what, where and what to do."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A refusal in one line: what is wrong, where, and what to do about it."""


@contextmanager
def one_line() -> Iterator[None]:
    """End the process with one clear line on stderr, and a non-zero code, for foreseeable failures.

    Foreseeable are `UserError`, a full disk, and an interruption; anything else is a defect of the
    program and keeps its traceback.
    """
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print(
            "interrupted: finished items are kept; the same command goes on from there",
            file=sys.stderr,
        )
        sys.exit(130)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" while writing {error.filename}" if error.filename else ""
        sys.exit(
            f"error: no space left on the disk{where}: free some and run the same command again; "
            "finished items are kept"
        )
