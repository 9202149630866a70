"""Work in other processes: in order, nothing lost, nothing left running."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from basins import parallel
from basins.errors import UserError

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    """Take back what work in this process sets for all of it."""
    yield
    torch.set_flush_denormal(False)


def later_first(item: int, step: Callable) -> tuple[int, int]:
    """Return the square of `item` and how many threads torch has; the first item is slowest."""
    time.sleep(0.2 / (1 + item))
    return item**2, torch.get_num_threads()


def odd_fail(item: int, step: Callable) -> int:
    if item == 1:
        raise UserError("is odd")
    if item == 3:
        raise MemoryError
    return item


def die(item: int, step: Callable) -> int:
    os._exit(3)


def hang(folder: Path, step: Callable) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(600)


def run(function: Callable, items: list, workers: int) -> list:
    return parallel.run(function, items, workers=workers, title="square")


@pytest.mark.parametrize("workers", [1, 2])
def test_results_are_in_the_items_order(workers: int) -> None:
    assert run(later_first, [0, 1, 2, 3], workers) == [(0, 1), (1, 1), (4, 1), (9, 1)]


def test_no_items_and_one_item_need_no_other_process() -> None:
    assert run(later_first, [], 2) == []
    assert run(lambda item, step: os.getpid(), [7], 2) == [os.getpid()]


def half(item: int, step: Callable) -> None:
    for _ in range(5 + item):
        step()
        time.sleep(0.3)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_bar_counts_steps(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []

    class Bar(parallel.tqdm):
        def refresh(self, *args, **options):
            shown.append(self.n)

    monkeypatch.setattr(parallel, "tqdm", Bar)
    parallel.run(half, [0, 1], workers=workers, title="half", steps=10)
    assert shown == sorted(shown)  # an item that ends early counts as whole
    assert shown[-1] == 20
    assert any(0 < n < 10 for n in shown)


@pytest.mark.parametrize("workers", [1, 2])
def test_failing_items_are_named_and_the_others_finish(workers: int) -> None:
    with pytest.raises(UserError) as caught:
        run(odd_fail, [0, 1, 2, 3], workers)
    line = "square: 1: is odd; 3: MemoryError (2 others finished and are kept)"
    assert str(caught.value) == line


def test_a_defect_is_not_hidden() -> None:
    with pytest.raises(TypeError):
        run(lambda item, step: abs(item), [1, "x"], 1)


def test_a_worker_that_dies_is_reported() -> None:
    with pytest.raises(UserError) as caught:
        run(die, [5, 6], 2)
    assert str(caught.value).startswith("square: a worker process died (out of memory?)")


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import test_parallel as t\n"
        "if __name__ == '__main__': t.run(t.hang, [Path(sys.argv[1])] * 2, 2)"
    )
    (tmp_path / "parent.py").write_text(code)
    (tmp_path / "pids").mkdir()
    command = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path / "pids")]
    paths = os.pathsep.join([str(HERE), str(HERE.parent)])
    parent = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": paths})
    try:
        assert within(60, lambda: len(list((tmp_path / "pids").iterdir())) == 2)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    workers = [int(path.name) for path in (tmp_path / "pids").iterdir()]
    try:
        assert within(10, lambda: not any(map(running, workers)))
    finally:
        for worker in filter(running, workers):
            os.kill(worker, signal.SIGKILL)


def within(seconds: float, happened: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not (now := happened()) and time.monotonic() < end:
        time.sleep(0.05)
    return now


def running(process: int) -> bool:
    """Tell whether a process runs; one that nobody has reaped yet does not."""
    try:
        os.kill(process, 0)
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # no /proc here, or it has just ended
        return not Path("/proc/self").exists()
