"""Switch to a profile and run its pipeline under this checkout's lock, for `make repro`."""

from __future__ import annotations

import argparse
import os
import sys

from basins import layout, lock
from basins.errors import one_line
from basins.params import read
from switch import switch


def main() -> None:
    """Replace this process by DVC's, which thus keeps the lock until it ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="a profile: a file in profiles/")
    name = parser.parse_args().name
    lock.take(f"`make repro PROFILE={name}`")
    switch(name)
    sys.stdout.flush()
    names = ["check", *(stage for stage, _, _ in layout.stages(read(check=[])))]
    command = [sys.executable, "stages/timed.py", f"reports/{name}/seconds.csv", *names]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    with one_line():
        main()
