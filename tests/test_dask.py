"""The same work on the workers of a Dask cluster: same results, nothing lost, clear refusals."""

import importlib
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from basins import parallel
from basins.errors import UserError
from basins.landscape import aspects
from tests.processes import within

clusters = importlib.import_module("basins.cluster")  # the package's own name is a function

distributed = pytest.importorskip("distributed", reason="needs the extra `dask`")
dask = pytest.importorskip("dask")


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Return the address of a cluster of two processes that gives up at an item's second death."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        cluster(n_workers=2, threads_per_worker=1) as here,
    ):
        yield here.scheduler_address


def cluster(**options):
    return distributed.LocalCluster(dashboard_address=":0", **options)


def in_this_process(threads: int):
    return cluster(n_workers=1, threads_per_worker=threads, processes=False, protocol="tcp://")


def run(function: Callable, items: list, scheduler: str | None) -> list:
    return parallel.run(function, items, workers=1, title="square", scheduler=scheduler)


def draw(item: int, step: Callable) -> tuple:
    """Return what depends on the state of the process that it runs in."""
    step()
    matrix = torch.randn(300, 300, generator=torch.Generator().manual_seed(item))
    tiny = float(torch.tensor(1e-39) / 2)  # 0 where denormals are flushed
    return (matrix @ matrix).numpy().tobytes(), tiny, torch.get_num_threads(), os.getcwd()


def test_results_are_those_of_local_work(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    there = run(draw, [3, 1, 2], scheduler)
    here = run(draw, [3, 1, 2], None)
    torch.set_flush_denormal(False)
    assert there == here
    assert there[0][1:] == (0, 1, str(tmp_path))


def odd_fail(item: int, step: Callable) -> int:
    if item % 2:
        raise UserError("is odd")
    return item


def test_failing_items_are_named_and_the_others_finish(scheduler: str) -> None:
    with pytest.raises(UserError) as caught:
        run(odd_fail, [0, 1, 2, 3], scheduler)
    line = "square: 1: is odd; 3: is odd (2 others finished and are kept)"
    assert str(caught.value) == line


def wrong(item: int, step: Callable) -> int:
    return item + "1"  # type: ignore


def test_a_defect_is_not_hidden(scheduler: str) -> None:
    with pytest.raises(TypeError):
        run(wrong, [1], scheduler)


def die_once(item: int, step: Callable) -> int:
    with Path(f"runs{item}").open("a") as runs:
        runs.write("x")
    if item == 1 and len(Path("runs1").read_text()) == 1:
        os._exit(3)
    time.sleep(0.1)
    return item


def test_an_item_whose_worker_dies_is_run_again(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(die_once, list(range(6)), scheduler) == list(range(6))
    runs = [len((tmp_path / f"runs{item}").read_text()) for item in range(6)]
    assert runs[1] == 2
    assert max(runs) == 2


def one_dies(item: int, step: Callable) -> int:
    if item == 1:
        os._exit(3)
    return item


def test_an_item_that_always_kills_its_worker_is_named(scheduler: str) -> None:
    with pytest.raises(UserError) as caught:
        run(one_dies, [0, 1, 2, 3], scheduler)
    line = str(caught.value)
    assert line.startswith("square: 1: its worker died every time (out of memory?")
    assert line.endswith("(3 others finished and are kept)")


def mark(item: int, step: Callable) -> None:
    Path(f"begun{item}").touch()
    time.sleep(0.5)


def test_an_interruption_leaves_nothing_to_do(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bar(parallel.tqdm):
        def refresh(self, *args, **options):
            if self.n:
                raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(parallel, "tqdm", Bar)
    with pytest.raises(KeyboardInterrupt):
        run(mark, list(range(9)), scheduler)
    with distributed.Client(scheduler, set_as_default=False) as client:
        assert within(10, lambda: not client.run_on_scheduler(known_tasks))
    assert 1 <= len(list(tmp_path.iterdir())) <= 4


def known_tasks(dask_scheduler) -> int:
    return len(dask_scheduler.tasks)


def test_workers_with_other_code_are_refused(
    scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "_code", lambda: "edited")
    with pytest.raises(UserError, match="basins is not that of this run.*restart them after"):
        run(odd_fail, [0, 2], scheduler)


def test_workers_that_do_not_see_this_folder_are_refused(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters.Path, "cwd", lambda: tmp_path / "elsewhere")
    with pytest.raises(UserError, match="cannot run items.*No such file.*elsewhere"):
        run(odd_fail, [0, 2], scheduler)


def hashed(folder: Path, step: Callable) -> str | None:
    time.sleep(0.2)  # so that both workers are given one
    return aspects._hash(folder)


def test_workers_do_not_remember_files_of_an_earlier_run(scheduler: str, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("one")
    (before,) = {*run(hashed, [tmp_path] * 4, scheduler)}
    (tmp_path / "model").write_text("other")
    (after,) = {*run(hashed, [tmp_path] * 4, scheduler)}
    assert before != after


def test_workers_of_several_threads_are_refused() -> None:
    with (
        in_this_process(threads=2) as here,
        pytest.raises(UserError, match="several items at a time.*--nthreads 1"),
    ):
        run(odd_fail, [0, 2], here.scheduler_address)


def shut_down(item: int, step: Callable) -> None:
    distributed.get_client().shutdown()
    time.sleep(1)


def test_a_lost_scheduler_is_one_line() -> None:
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        in_this_process(threads=1) as here,
        pytest.raises(UserError, match="connection is lost; finished items are kept"),
    ):
        run(shut_down, [0], here.scheduler_address)


def test_an_address_without_a_scheduler_is_refused() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(UserError, match=f"{address}: no Dask scheduler answers.*dask scheduler"):
        run(odd_fail, [0], address)
    with pytest.raises(UserError, match="nowhere: no Dask scheduler answers there .missing port"):
        run(odd_fail, [0], "nowhere")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match="pip install 'basins\\[dask\\]'"):
        run(odd_fail, [0], "tcp://127.0.0.1:8786")
    assert run(odd_fail, [], "tcp://127.0.0.1:8786") == []
