"""Run a function over many items, one process a worker, and lose none that finished."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, MutableSequence, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from multiprocessing import connection
from typing import TypeVar

from tqdm import tqdm

from basins import devices
from basins.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
Step = Callable[[], None]
Function = Callable[[Item, Step], Result]
Outcomes = Generator[tuple[int, Callable[[], Result]], None, None]
Counts = MutableSequence[int]

# In a worker: how many steps of each item are done, in memory shared with the parent. A pool hands
# such memory over when a process starts and at no other time, so it has to be kept here.
_counts: Counts = []


def run(
    function: Function[Item, Result],
    items: Sequence[Item],
    *,
    workers: int,
    title: str,
    steps: int = 1,
) -> list[Result]:
    """Return `function(item, step)` for every item, in the items' order, with a progress bar.

    `function` must be importable by other processes, and may call `step()` up to `steps` times as
    it gets on; `str(item)` must name the item to people. An item that fails in a foreseeable way
    does not stop the others; at the end `UserError` names every one that failed. A worker that
    dies ends the run with `UserError`.
    """
    outcomes = _spawned if workers > 1 and len(items) > 1 else _inline
    counts: Counts = multiprocessing.RawArray("i", len(items))
    results: dict[int, Result] = {}
    failures: dict[int, str] = {}
    with tqdm(total=steps * len(items), desc=title, disable=None) as bar:

        def refresh() -> None:
            bar.n = sum(counts)
            bar.refresh()

        with closing(outcomes(function, items, workers, counts, refresh)) as stream:
            for index, outcome in stream:
                try:
                    results[index] = outcome()
                except BrokenProcessPool:
                    raise UserError(
                        f"{title}: a worker process died (out of memory?); finished items are "
                        "kept, run the same command again, with fewer workers if it happens again"
                    ) from None
                except (UserError, MemoryError) as error:
                    failures[index] = str(error) or type(error).__name__
                counts[index] = steps
                refresh()
    if failures:
        named = "; ".join(f"{items[index]}: {failures[index]}" for index in sorted(failures))
        kept = f" ({len(results)} others finished and are kept)" if results else ""
        raise UserError(f"{title}: {named}{kept}")
    return [results[index] for index in range(len(items))]


def _inline(
    function: Function[Item, Result],
    items: Sequence[Item],
    workers: int,
    counts: Counts,
    refresh: Step,
) -> Outcomes[Result]:
    devices.prepare()
    for index, item in enumerate(items):

        def step(index: int = index) -> None:
            counts[index] += 1
            refresh()

        yield index, partial(function, item, step)


def _spawned(
    function: Function[Item, Result],
    items: Sequence[Item],
    workers: int,
    counts: Counts,
    refresh: Step,
) -> Outcomes[Result]:
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(items)), spawn, _start_worker, (counts,))
    try:
        futures = {
            pool.submit(_call, function, item, index): index for index, item in enumerate(items)
        }
        pending = set(futures)
        while pending:
            done, pending = wait(pending, timeout=1, return_when=FIRST_COMPLETED)
            refresh()
            for future in done:
                yield futures[future], future.result
    except BaseException:
        # Leaving would wait for the items under way, which may take hours; the pool has no public
        # way to end them before Python 3.14.
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(counts: Counts) -> None:
    global _counts
    _counts = counts
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interruption means
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that half-made items are removed
    devices.prepare()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _call(function: Function[Item, Result], item: Item, index: int) -> Result:
    def step() -> None:
        _counts[index] += 1  # only this process writes this entry

    return function(item, step)


def _end_with_parent() -> None:
    """End this process when its parent is gone: a killed parent cannot tell its workers to stop."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
