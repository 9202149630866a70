"""Run a function over many items, one process a worker, and lose none that finished."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from multiprocessing.connection import wait
from typing import TypeVar

from tqdm import tqdm

from basins import devices
from basins.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
Outcome = Callable[[], Result]


def run(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int, title: str
) -> list[Result]:
    """Return `function(item)` for every item, in the items' order, with a progress bar on stderr.

    `function` must be importable by other processes, and `str(item)` must name the item to people.
    An item that fails in a foreseeable way does not stop the others; at the end `UserError` names
    every one that failed. A worker that dies ends the run with `UserError`.
    """
    outcomes = _spawned if workers > 1 and len(items) > 1 else _inline
    results: dict[int, Result] = {}
    failures: dict[int, str] = {}
    with (
        tqdm(total=len(items), desc=title, disable=None) as bar,
        closing(outcomes(function, items, workers)) as stream,
    ):
        for index, outcome in stream:
            try:
                results[index] = outcome()
            except BrokenProcessPool:
                raise UserError(
                    f"{title}: a worker process died (out of memory?); finished items are kept, "
                    "run the same command again, with fewer workers if it happens again"
                ) from None
            except (UserError, MemoryError) as error:
                failures[index] = str(error) or type(error).__name__
            bar.update()
    if failures:
        named = "; ".join(f"{items[index]}: {failures[index]}" for index in sorted(failures))
        kept = f" ({len(results)} others finished and are kept)" if results else ""
        raise UserError(f"{title}: {named}{kept}")
    return [results[index] for index in range(len(items))]


def _inline(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Generator[tuple[int, Outcome[Result]], None, None]:
    devices.prepare()
    for index, item in enumerate(items):
        yield index, lambda item=item: function(item)


def _spawned(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Generator[tuple[int, Outcome[Result]], None, None]:
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(items)), spawn, _start_worker)
    try:
        futures = {pool.submit(function, item): index for index, item in enumerate(items)}
        for future in as_completed(futures):
            yield futures[future], future.result
    except BaseException:
        # Leaving would wait for the items under way, which may take hours; the pool has no public
        # way to end them before Python 3.14.
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interruption means
    devices.prepare()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent is gone: a killed parent cannot tell its workers to stop."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
