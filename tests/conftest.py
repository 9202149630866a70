"""What all tests share."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.processes import within
from tests.projects import PROJECT, Runner
from tests.runner import shim

# How long a generated case takes depends on what else the machine does; it is no property. Cases
# are the same in every run; BASINS_CASES is how many there are of each property (tests/junk).
CASES = int(os.environ.get("BASINS_CASES", "75"))
settings.register_profile(
    "basins", deadline=None, derandomize=True, database=None, max_examples=CASES
)
settings.load_profile("basins")


def pytest_runtest_teardown() -> None:
    """Forget a `net.py` that a test has written, before another test writes its own."""
    sys.modules.pop("net", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest file, so that two workers end at about the same time.

    The others that run DVC follow, so that the other worker alone makes what they share.
    """
    items.sort(
        key=lambda item: (
            item.path.name != "test_pipeline.py",
            item.get_closest_marker("pipeline") is None,
        )
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin no test after the time that `make check` gives, but for those of the first seconds.

    Let torch use one thread, since two workers share the cores.
    """
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    now = time.time()
    began.append(now)
    if now > max(float(os.environ.get("BASINS_DEADLINE", "inf")), began[0] + 10):
        pytest.skip("left to `make test`: no time")


began: list[float] = []


@pytest.fixture(scope="session")
def runner() -> Iterator[Runner]:
    """The server that commands run by, with a short name: that of a socket may have 100 letters."""
    with tempfile.TemporaryDirectory() as folder:
        address = Path(folder) / "socket"
        command = [sys.executable, "-m", "tests.runner", str(address)]
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        with subprocess.Popen(command, cwd=PROJECT, env=env) as server:
            try:
                _pin(server.pid)
                assert within(120, lambda: address.exists() or server.poll() is not None)
                yield Runner(address, shim(Path(folder) / "bin", address))
            finally:
                server.kill()


def _pin(process: int) -> None:
    """Give a process, and all that it starts, one core: another for each worker of the tests.

    On two, every stage starts a process that imports torch, in case that there is work for it,
    which is what the runner saves; there, the other core is the other worker's.
    """
    if not hasattr(os, "sched_setaffinity"):
        return  # outside Linux no stage starts one
    cores = sorted(os.sched_getaffinity(0))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    os.sched_setaffinity(process, {cores[number % len(cores)]})
