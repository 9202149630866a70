"""Work in other processes: in order, nothing lost, nothing left running."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import torch

from basins import parallel
from basins.errors import UserError
from tests.processes import LIMIT, first_line, within

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


def one_dies(item: int, step: Callable) -> int:
    if item == 1:
        os._exit(3)
    return item


def dies_once(folder: Path, step: Callable) -> str:
    for _ in range(3):
        step()
    with suppress(FileExistsError):
        folder.mkdir()
        os._exit(3)
    return folder.name


def hang(folder: Path, step: Callable) -> None:
    (folder / str(os.getpid())).touch()
    (folder / str(os.getppid())).touch()
    time.sleep(600)


class Slow:
    """An object whose destructor takes long and, as every destructor, lets no exception out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __del__(self) -> None:
        hang(self.folder, int)


def hang_twice(folder: Path, step: Callable) -> None:
    Slow(folder)
    time.sleep(600)


def run(function: Callable, items: list, workers: int) -> list:
    return parallel.run(function, items, workers=workers, title="square")


@pytest.mark.parametrize("workers", [1, 2])
def test_results_are_in_the_items_order(workers: int) -> None:
    assert run(later_first, [0, 1, 2, 3], workers) == [(0, 1), (1, 1), (4, 1), (9, 1)]


def test_no_items_and_one_item_need_no_other_process() -> None:
    assert run(later_first, [], 2) == []
    assert run(lambda item, step: os.getpid(), [7], 2) == [os.getpid()]


def has_wave(item: int, step: Callable) -> bool:
    return "wave" in sys.modules


def test_workers_have_what_was_named_at_the_start_and_this_process_has_not(tmp_path: Path) -> None:
    code = "print(*t.run(t.has_wave, [1, 2], 2), t.has_wave(3, int))"
    for first, found in (("t.parallel.start('wave'); ", "True True False\n"), ("", "False " * 3)):
        with parent(tmp_path, first + code) as process:
            assert process.communicate(timeout=60)[0].split() == found.split()


def test_nothing_starts_on_a_single_core(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(parallel, "_serve", started.extend)
    monkeypatch.setattr(parallel.sys, "platform", "linux")
    for cores in (1, 2):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=cores: range(n), raising=False)
        parallel.start(f"on {cores}")
    assert started == ["on 2"]


def half(item: tuple[int, float], step: Callable) -> None:
    steps, pause = item
    for _ in range(steps):
        step()
        time.sleep(pause)


@pytest.mark.parametrize(("workers", "pause"), [(1, 0.0), (2, 0.3)])
def test_the_bar_counts_steps(workers: int, pause: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of other processes once a second."""
    shown = []

    class Bar(parallel.tqdm):
        def refresh(self, *args, **options):
            shown.append(self.n)

    monkeypatch.setattr(parallel, "tqdm", Bar)
    parallel.run(half, [(5, pause), (6, pause)], workers=workers, title="half", steps=10)
    assert shown == sorted(shown)  # an item that ends early counts as whole
    assert shown[-1] == 20
    assert any(0 < n < 10 for n in shown)


@pytest.mark.parametrize("workers", [1, 2])
def test_failing_items_are_named_and_the_others_finish(workers: int) -> None:
    with pytest.raises(UserError) as caught:
        run(odd_fail, [0, 1, 2, 3], workers)
    line = str(caught.value)
    assert line.startswith("square: 1: is odd; 3: out of memory: use fewer processes (`workers`")
    assert line.endswith(" (2 others finished and are kept)")


def test_a_defect_is_not_hidden() -> None:
    with pytest.raises(TypeError):
        run(lambda item, step: abs(item), [1, "x"], 1)


def test_an_item_that_always_kills_its_worker_is_named() -> None:
    with pytest.raises(UserError) as caught:
        run(one_dies, [0, 1, 2, 3], 2)
    line = str(caught.value)
    assert line.startswith("square: 1: its worker died every time (out of memory?")
    assert line.endswith("(3 others finished and are kept)")


def test_an_item_whose_worker_dies_is_run_again(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    results = parallel.run(dies_once, folders, workers=2, title="die", steps=4)
    assert results == ["a", "b", "c"]


def kills_the_idle(item: tuple[str, Path], step: Callable) -> str:
    """Return at once, or at the first time kill the worker that has done so, then die."""
    name, folder = item
    pid, again = folder / "pid", folder / "again"
    if name == "idle":
        pid.write_text(str(os.getpid()))
    elif not again.exists():
        again.touch()
        assert within(30, lambda: pid.exists() and pid.read_text() != "")
        time.sleep(1)  # until its result has arrived
        os.kill(int(pid.read_text()), signal.SIGKILL)
        time.sleep(1)  # until its pool knows
        os._exit(3)
    return name


def test_a_worker_that_dies_while_idle_is_replaced(tmp_path: Path) -> None:
    items = [("idle", tmp_path), ("busy", tmp_path)]
    assert run(kills_the_idle, items, 2) == ["idle", "busy"]


def test_workers_share_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    for worker in range(3):
        parallel._take_gpu(worker)
    assert taken == [0, 1, 0]


@pytest.mark.parametrize(
    ("kill", "number", "function"),
    [
        (os.kill, signal.SIGKILL, "hang"),
        (os.kill, signal.SIGTERM, "hang"),
        (os.killpg, signal.SIGINT, "hang"),
        (os.killpg, signal.SIGINT, "hang_twice"),
    ],
)
def test_no_process_outlives_the_parent(
    kill: Callable, number: int, function: str, tmp_path: Path
) -> None:
    (tmp_path / "pids").mkdir()
    with parent(tmp_path, f"t.run(t.{function}, [Path(sys.argv[1])] * 2, 2)") as process:
        assert within(60, lambda: len(list((tmp_path / "pids").iterdir())) == 3)
        kill(process.pid, number)
        process.wait(10)
    processes = [int(path.name) for path in (tmp_path / "pids").iterdir()]
    try:
        assert within(10, lambda: not any(map(running, processes)))
    finally:
        for process in filter(running, processes):
            os.kill(process, signal.SIGKILL)


def test_an_interruption_while_workers_start_is_one_line(tmp_path: Path) -> None:
    """Items have no end, so that no machine is done with them before."""
    (tmp_path / "pids").mkdir()
    code = (
        "t.parallel.start('test_parallel'); print('go', flush=True); "
        "t.run(t.hang, [Path(sys.argv[1])] * 2, 2)"
    )
    with parent(tmp_path, code) as process:
        assert first_line(process) == "go\n"
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "interrupted: finished items are kept; run the same command to continue\n"


def test_what_was_started_deaf_to_interruptions_stays_so(tmp_path: Path) -> None:
    """As by `nohup`, or in the background of a script; the tests themselves may be run so."""
    code = "print('go', flush=True); print(t.run(t.later_first, [1, 2, 3], 2))"
    with parent(tmp_path, code, signal.SIG_IGN) as process:
        assert first_line(process) == "go\n"
        for _ in range(10):
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.1)
        results, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and results == "[(1, 1), (4, 1), (9, 1)]\n"


@contextmanager
def parent(
    folder: Path, code: str, interruptions: signal.Handlers = signal.SIG_DFL
) -> Iterator[subprocess.Popen[str]]:
    """Run code as the main script of a process group of its own, told the folder of pids."""
    (folder / "parent.py").write_text(
        "import sys; from pathlib import Path; import test_parallel as t\n"
        "from basins.errors import one_line\n"
        f"if __name__ == '__main__':\n    with one_line():\n        {code}\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(folder / "parent.py"), str(folder / "pids")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, interruptions),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(LIMIT)  # for it alone: workers that outlive it keep its pipes open


def running(process: int) -> bool:
    """Tell whether a process runs; one that nobody has reaped yet does not."""
    try:
        os.kill(process, 0)
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # no /proc here, or it has just ended
        return not Path("/proc/self").exists()


def in_turn(item: tuple[str, str, Path], step: Callable) -> str:
    """Take one step and say so in a file, then wait for another file before the end."""
    name, awaited, folder = item
    step()
    (folder / f"{name} began").touch()
    if name == "deadly":
        os._exit(3)
    if name == "broken":
        raise UserError("is broken")
    assert within(30, lambda: (folder / awaited).exists())
    (folder / f"{name} ended").touch()
    return name


@pytest.mark.parametrize("name", ["good", "deadly", "broken"])
def test_an_idle_worker_begins_what_is_spare(name: str, tmp_path: Path) -> None:
    items = [("short", "short began", tmp_path), ("long", f"{name} began", tmp_path)]
    spare = [(name, f"{name} began", tmp_path)]
    found = parallel.run(in_turn, items, workers=2, title="test", steps=3, spare=spare)
    assert found == ["short", "long"]
    assert (tmp_path / f"{name} ended").exists() == (name == "good")


def test_one_item_leaves_the_other_workers_to_what_is_spare(tmp_path: Path) -> None:
    items, spare = [("long", "spare began", tmp_path)], [("spare", "long began", tmp_path)]
    assert parallel.run(in_turn, items, workers=2, title="test", steps=3, spare=spare) == ["long"]
    assert (tmp_path / "spare ended").exists()


def test_nothing_spare_is_begun_where_others_are_nearly_done(tmp_path: Path) -> None:
    items = [("short", "long began", tmp_path), ("long", "short ended", tmp_path)]
    spare = [("spare", "spare began", tmp_path)]
    found = parallel.run(in_turn, items, workers=2, title="test", steps=1, spare=spare)
    assert found == ["short", "long"]
    assert not (tmp_path / "spare began").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_free_memory_is_given_back() -> None:
    script = """
from pathlib import Path
from basins.parallel import give_back
def pages(): return int(Path("/proc/self/statm").read_text().split()[1])
kept = [bytearray(100_000) for _ in range(2000)]  # 200 MB, too small for pieces of their own
del kept[:-1]
before = pages()
give_back()
print((before - pages()) * 4096 / 2**20)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) > 100
