"""How a stage begins and ends: its settings, who does its work, and where its models are laid."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from basins import devices
from basins.item import Run, runner
from basins.params import pick, read
from basins.settings import Params
from basins.store import seal, whole_folder


def entry(section: str, about: str | None) -> tuple[Params, str, Any]:
    """Return the params, and the key and the settings of the entry that the command names."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("name", help=f"a key of `{section}` in params.yaml")
    name = parser.parse_args().name
    params = read(check=dict.fromkeys(["data", section]))
    return params, name, pick(getattr(params, section), name, section)


def section(name: str, about: str | None) -> tuple[Params, dict[str, Any]]:
    """Return the params, and all entries of a section."""
    argparse.ArgumentParser(description=about).parse_args()
    params = read(check=[name])
    return params, getattr(params, name)


def work(params: Params) -> tuple[Any, Run]:
    """Return the device, and what makes items on it."""
    device = devices.pick(params.device)
    scheduler = params.scheduler if params.executor == "dask" else None
    return device, runner(devices.workers(params.workers, device), scheduler)


def lay_out(target: Path, folders: Iterable[tuple[Path, Path]], lay: Callable) -> None:
    """Fill `target` as a whole: `lay(item, place)` for every item and its place below it."""
    with whole_folder(target) as folder:
        for item, place in folders:
            lay(item, folder / place)
        seal(folder)
