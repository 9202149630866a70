"""Run a function over many items, in local processes or on a cluster."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Collection, Generator, Mapping, MutableSequence, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from multiprocessing import connection, forkserver
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from basins import code
from basins.errors import Edited, UserError, explained

Item = TypeVar("Item")
Result = TypeVar("Result")
Step = Callable[[], None]
Function = Callable[[Item, Step], Result]
Outcomes = Generator[tuple[int, Callable[[], Result]], None, None]
Counts = MutableSequence[int]

TIDY = 20.0
"""Seconds between a worker's releases of free memory: each takes .1 s and may free gigabytes."""

# In a worker: the finished steps of each item, in memory shared with the parent. A pool can pass
# such memory only when a process starts, so it is kept here.
_counts: Counts = []


def start(*modules: str) -> None:
    """Let the server that workers are forked from import `modules` while this process imports.

    A script calls this before it imports torch, which this module avoids for that reason; without
    it `run` waits for the server's imports. Does nothing on a single core or outside Linux.
    """
    if sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1:
        _serve(modules)


def run(
    function: Function[Item, Result],
    items: Sequence[Item],
    *,
    workers: int,
    title: str,
    steps: int = 1,
    scheduler: str | None = None,
    spare: Sequence[Item] = (),
) -> list[Result]:
    """Return `function(item, step)` for every item, in the items' order, with a progress bar.

    An item that fails in a foreseeable way does not stop the others, except for errors of the
    disk and edits of the code. An item whose worker dies is tried again (locally once, after the
    others; a cluster decides how often) before it counts as failed.

    Args:
        function: importable by other processes; it may call `step()` to report progress (a
            cluster reports only whole items).
        items: `str(item)` names an item in messages.
        workers: the number of local processes, at least 1.
        title: of the progress bar and of error messages.
        steps: about how many times `function` calls `step()`.
        scheduler: the address of a Dask scheduler: items run on the workers of that cluster
            instead, which must share this folder.
        spare: items of later runs, which an idle local process may begin while another is in the
            first half of an item. Their results and errors are ignored here.

    Raises:
        UserError: at the end, naming every item that failed; at once if code was edited.
    """
    shared = multiprocessing.RawArray("i", len(items))
    counts: Counts = shared
    done = np.ctypeslib.as_array(shared)
    results: dict[int, Result] = {}
    failures: dict[int, str] = {}
    with tqdm(total=steps * len(items), desc=title, disable=None) as bar:

        def refresh() -> None:
            bar.n = int(np.minimum(done, steps).sum())
            bar.refresh()

        if scheduler and items:
            from basins.cluster import outcomes as on_workers

            outcomes = on_workers(function, items, scheduler, refresh)
        elif workers > 1 and items and len(items) + len(spare) > 1:
            outcomes = _in_processes(function, items, spare, workers, counts, steps, refresh)
        else:
            outcomes = _inline(function, items, counts, refresh)
        with closing(outcomes) as stream:
            for index, outcome in stream:
                try:
                    results[index] = outcome()
                except Exception as error:
                    ours = isinstance(error, (UserError, MemoryError, RuntimeError))  # not disks'
                    ours &= not isinstance(error, Edited)
                    if not (ours and (line := explained(error))):
                        raise
                    failures[index] = line
                counts[index] = steps
                refresh()
    if failures:
        named = "; ".join(f"{items[index]}: {failures[index]}" for index in sorted(failures))
        kept = f" ({len(results)} others finished and are kept)" if results else ""
        raise UserError(f"{title}: {named}{kept}")
    return [results[index] for index in range(len(items))]


def _inline(
    function: Function[Item, Result], items: Sequence[Item], counts: Counts, refresh: Step
) -> Outcomes[Result]:
    from basins import devices

    devices.prepare()
    for index, item in enumerate(items):

        def step(index: int = index) -> None:
            counts[index] += 1
            refresh()

        yield index, partial(function, item, step)


def _in_processes(
    function: Function[Item, Result],
    items: Sequence[Item],
    spare: Sequence[Item],
    workers: int,
    counts: Counts,
    steps: int,
    refresh: Step,
) -> Outcomes[Result]:
    from basins.cluster import died as lost

    # A pool for each worker, since a pool ends all its processes when one dies.
    context = _context({function.__module__, type(items[0]).__module__})
    used = min(workers, len(items) + len(spare))
    pools = [_pool(context, counts, worker) for worker in range(used)]
    idle, waiting, more = deque(range(len(pools))), deque(range(len(items))), deque(spare)
    running: dict[Future[Result], tuple[int, int | None]] = {}  # index: None if spare
    died: set[int] = set()

    def replace(worker: int) -> None:
        pools[worker].shutdown()
        pools[worker] = _pool(context, counts, worker)

    def submit(item: Item, index: int | None) -> None:
        worker = idle.popleft()
        try:
            future = pools[worker].submit(_call, function, item, index)
        except BrokenProcessPool:  # it died while it was idle
            replace(worker)
            future = pools[worker].submit(_call, function, item, index)
        running[future] = worker, index

    try:
        while waiting or running:
            while idle and waiting:
                index = waiting.popleft()
                submit(items[index], index)
            ours = [index for _, index in running.values() if index is not None]
            while idle and more and any(counts[index] < steps / 2 for index in ours):
                submit(more.popleft(), None)
            done, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
            refresh()
            for future in done:
                worker, index = running.pop(future)
                idle.append(worker)
                broken = isinstance(future.exception(), BrokenProcessPool)
                if broken:
                    replace(worker)
                if index is None:
                    continue
                if not broken:
                    yield index, future.result
                    continue
                counts[index] = 0
                if index in died:
                    yield index, lost
                else:
                    died.add(index)
                    waiting.append(index)
    except BaseException:
        # A shutdown waits for running items, perhaps for hours; before Python 3.14 a pool has no
        # public way to end its process.
        for pool in pools:
            for process in list((pool._processes or {}).values()):
                process.terminate()
        raise
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)


def _context(modules: Collection[str]) -> BaseContext:
    """Return how processes start: forks of a server that has imported what they need.

    The server starts no thread of torch and never uses a GPU, so forks of it are safe. Outside
    Linux, system libraries forbid forks, and processes are spawned.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    _serve([*modules])
    context = multiprocessing.get_context("forkserver")
    context.Process(target=int).start()
    return context


def _serve(modules: Sequence[str]) -> None:
    """Start the server, if there is none yet, and let it import these modules."""
    forkserver.set_forkserver_preload([__name__, *modules])
    # An interruption while the server imports must end this process alone, so the server inherits
    # an ignored SIGINT.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    forkserver.ensure_running()
    signal.signal(signal.SIGINT, before)


def _pool(context: BaseContext, counts: Counts, worker: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, context, _start_worker, (counts, worker, code.started))


def _start_worker(counts: Counts, worker: int, started: Mapping[Path, code.Stamp | None]) -> None:
    from basins import devices

    global _counts
    _counts = counts
    code.started.update(started)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interruption means
    signal.signal(signal.SIGTERM, _stop)
    if sys.platform != "win32":
        signal.signal(signal.SIGALRM, _stop)
        sys.unraisablehook = _stop_again
    devices.prepare()
    _take_gpu(worker)
    threading.Thread(target=_look_after, daemon=True).start()


def _stop(*_: object) -> None:
    """End this worker by an exception, so that unfinished items are removed."""
    sys.exit(1)


def _stop_again(dropped: sys.UnraisableHookArgs) -> None:
    """Stop again where Python has ignored that exception, as it does in destructors."""
    if isinstance(dropped.exc_value, SystemExit):
        signal.setitimer(signal.ITIMER_REAL, 0.01)
    else:
        sys.__unraisablehook__(dropped)


def _take_gpu(worker: int) -> None:
    """Make "cuda" refer to this worker's own GPU, or to a shared one if there are too few."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(worker % torch.cuda.device_count())


def _call(function: Function[Item, Result], item: Item, index: int | None) -> Result:
    def step() -> None:
        if index is not None:
            _counts[index] += 1  # only this process writes this entry

    return function(item, step)


def _look_after() -> None:
    """Release free memory regularly, and end this process when its parent is gone.

    A killed parent cannot tell its workers to stop.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    while not connection.wait([parent.sentinel], TIDY):
        give_back()
    os._exit(1)


def give_back() -> None:
    """Return free memory to the system, if the C library can (glibc).

    Batches of text differ in size at every step, which fragments the heap.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
