"""Run a function over many items on the workers of a Dask cluster (docs/scale.md)."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from functools import cache, partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from uuid import uuid4

from basins import devices
from basins.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
Function = Callable[[Item, Callable[[], None]], Result]
Outcomes = Generator[tuple[int, Callable[[], Result]], None, None]

PATIENCE = 5  # seconds within which a scheduler must answer

_runs: list[str] = []  # in a worker: the run whose items it last made


class _Unfit(Exception):
    """Raised if a worker of a cluster cannot process any item of this run."""


def died() -> NoReturn:
    """Raise the error of an item whose workers died."""
    raise UserError("its worker died every time (out of memory? fewer workers need less)")


def outcomes(
    function: Function[Item, Result],
    items: Sequence[Item],
    scheduler: str,
    refresh: Callable[[], None],
) -> Outcomes[Result]:
    """Yield each item's number and its outcome, a function that returns or raises, as they finish.

    Closing the generator cancels items that have not started. Raises `UserError` if the cluster
    cannot be reached or a worker cannot run items.
    """
    client, killed = _connect(scheduler)
    executor = client.get_executor(pure=False)
    there = partial(_call_there, function, folder=Path.cwd(), code=_code(), run=uuid4().hex)
    waiting = deque(range(len(items)))
    running: dict[Future[Result], int] = {}
    try:
        while waiting or running:
            # Only as many as run at once, since Dask counts a worker's death against its queued
            # items too. At least one, to wait for the first worker.
            slots = max(1, len(client.nthreads()))
            while waiting and len(running) < slots:
                index = waiting.popleft()
                running[executor.submit(there, items[index])] = index
            done, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
            refresh()
            for future in done:
                index = running.pop(future)
                error = future.exception()
                if isinstance(error, (_Unfit, ImportError)):
                    raise UserError(
                        f"scheduler {scheduler}: a worker cannot run items: {error}; start workers "
                        "in this environment with --nthreads 1; restart them after code changes"
                    )
                yield index, died if isinstance(error, killed) else future.result
    except (OSError, CancelledError):
        raise UserError(
            f"scheduler {scheduler}: the connection is lost; finished items are kept, start the "
            "cluster again and run the same command"
        ) from None
    finally:
        executor.shutdown(wait=False)
        client.close()


def _connect(scheduler: str) -> tuple[Any, type[Exception]]:
    """Return a client of the scheduler, and the error of items whose workers died."""
    try:
        from distributed import Client, KilledWorker
        from distributed.comm.addressing import get_address_host_port
    except ImportError:
        raise UserError(
            f"scheduler {scheduler}: the package distributed is missing; "
            "pip install 'basins[dask]', or set scheduler to null"
        ) from None
    try:
        # A client that cannot connect logs errors for another ten seconds.
        socket.create_connection(get_address_host_port(scheduler), PATIENCE).close()
        return Client(scheduler, timeout=PATIENCE, set_as_default=False), KilledWorker
    except (OSError, ValueError) as error:
        raise UserError(
            f"scheduler {scheduler}: no Dask scheduler answers there ({error}); start one with "
            "`dask scheduler`, then workers with `dask worker ADDRESS --nthreads 1`"
        ) from None


def _call_there(
    function: Function[Item, Result], item: Item, *, folder: Path, code: str, run: str
) -> Result:
    """Call `function` in a worker of a cluster as if it were called locally in `folder`."""
    from distributed import get_worker

    if _code() != code:
        raise _Unfit("its code of basins is not that of this run")
    if get_worker().state.nthreads > 1:  # random streams and the working folder are per process
        raise _Unfit("it runs several items at a time")
    try:
        os.chdir(folder)
    except OSError as error:
        raise _Unfit(str(error)) from None
    devices.prepare()
    if _runs != [run]:
        _forget()
        _runs[:] = [run]
    return function(item, lambda: None)


def _forget() -> None:
    """Empty the package's caches: files of the same path may be others than in an earlier run.

    Local workers live for one run. `_code` stays, as the code in memory does.
    """
    for name, module in list(sys.modules.items()):
        if name.startswith("basins.") and name != __name__:
            for value in list(vars(module).values()):
                if callable(clear := getattr(value, "cache_clear", None)):
                    clear()


@cache
def _code() -> str:
    """Return the hash of the package's code at the first call in this process."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
