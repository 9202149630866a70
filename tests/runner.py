"""Run stages, and DVC, in forks of a server that has imported what takes seconds.

    python -m tests.runner SOCKET        serves
    python tests/runner.py SOCKET ...    runs `python ...` by it: `shim` makes a command so

What is run is a process of its own session, with the arguments, the folder, the environment and the
output of whoever asked; when that one is killed, so is the session.
"""

import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path

LIMIT = 120.0
"""Seconds after which a command is taken to hang, also beside other work."""

HEAVY = ("torch", "datasets", "pandas", "matplotlib.pyplot", "scipy.stats", "seaborn", "jinja2")
HEAVY += ("sklearn.cluster", "dvc.cli", "dvc.commands.repro", "dvc.stage.run", "ruamel.yaml")
HEAVY += ("transformers", "torchvision", "multiprocessing.forkserver", "tqdm", "dvc_data.index")
# What these hold is imported when it is first used, and in each stage anew: .8 seconds.
HEAVY += ("transformers.models.bert.modeling_bert", "transformers.models.auto.modeling_auto")
HEAVY += ("pydantic.json_schema", "pydantic_core", "safetensors.torch", "tokenizers")


class Running:
    """A command that the server runs."""

    def __init__(self, address, arguments, folder, environment, outputs):
        self.command = " ".join(arguments)
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(LIMIT)
        self.connection.connect(str(address))
        request = json.dumps([list(arguments), str(folder), dict(environment)]).encode()
        socket.send_fds(self.connection, [len(request).to_bytes(8, "big")], outputs)
        self.connection.sendall(request)
        self.answers = self.connection.makefile()
        self.pid = int(self._reply())

    def wait(self, limit=LIMIT) -> int:
        """Return the exit code, negative for a signal; what runs longer is killed and fails.

        `limit` is in seconds; None means none.
        """
        self.connection.settimeout(limit)
        return int(self._reply())

    def kill(self) -> None:
        """Kill its session, unless it has ended."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def ended(self) -> bool:
        """Return whether it has ended."""
        return bool(select.select([self.connection], [], [], 0)[0])

    def _reply(self) -> str:
        try:
            answer = self.answers.readline()
        except TimeoutError:
            self.answers.close()
            self.connection.close()  # at which the server kills the session
            raise AssertionError(f"{self.command}: not ended within the limit") from None
        assert answer, f"{self.command}: who runs it was killed"
        return answer


def shim(folder: Path, address: Path) -> Path:
    """Make a command `python` in `folder` that runs by the server."""
    folder.mkdir()
    script = folder / "python"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E -P {__file__} {address} "$@"\n')
    script.chmod(0o755)
    return folder


def serve(address: str) -> None:
    """Answer requests for ever, each in a fork."""
    for name in HEAVY:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that answer
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        while True:
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                _answer(connection)
                os._exit(0)
            connection.close()


def _answer(connection: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, outputs, _, _ = socket.recv_fds(connection, 8, 2)
    if not size:
        return
    request = b""
    while len(request) < int.from_bytes(size, "big"):
        if not (part := connection.recv(1 << 20)):
            return  # killed while it asked
        request += part
    if (pid := os.fork()) == 0:
        connection.close()
        _become(*json.loads(request), outputs)
    for output in outputs:
        os.close(output)
    with suppress(BrokenPipeError):
        connection.sendall(f"{pid}\n".encode())
    process = os.pidfd_open(pid)
    if process not in select.select([process, connection], [], [])[0]:
        os.kill(pid, signal.SIGKILL)  # who asked is gone
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(BrokenPipeError):
        connection.sendall(f"{code}\n".encode())


def _become(arguments: list[str], folder: str, environment: dict[str, str], outputs) -> None:
    code = 1
    try:
        os.setsid()
        for target, output in zip((1, 2), outputs, strict=True):
            os.dup2(output, target)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        here = "" if arguments[0] == "-m" else str(Path(folder, arguments[0]).parent)
        sys.path[:1] = [here, folder]
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            runpy.run_path(arguments[0], run_name="__main__")
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        serve(sys.argv[1])
    asked = Running(sys.argv[1], sys.argv[2:], os.getcwd(), os.environ, [1, 2])
    signal.signal(signal.SIGINT, lambda *_: os.killpg(asked.pid, signal.SIGINT))
    sys.exit(asked.wait(None) % 256)  # who asked has a limit
