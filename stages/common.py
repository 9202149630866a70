"""What stages share: reading settings, making items, and writing tables."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from basins import layout
from basins.params import pick, read
from basins.settings import Params
from basins.store import whole_folder

if TYPE_CHECKING:
    import pandas as pd

    from basins.item import Run


def entry(section: str, about: str | None) -> tuple[Params, str, Any]:
    """Return the params, and the key and settings of the entry that the command names."""
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
    """Return the device, and a function that makes items on it (`item.runner`)."""
    from basins import devices  # importing torch takes seconds, and not every stage needs it
    from basins.item import runner

    device = devices.pick(params.device)
    scheduler = params.scheduler if params.executor == "dask" else None
    return device, runner(devices.workers(params.workers, device), scheduler)


def write(params: Params, kind: str, tables: Iterable[tuple[str, pd.DataFrame]]) -> None:
    """Write the tables of all entries of a section, by name, into one folder of results."""
    from basins import results  # importing pandas takes a second

    with whole_folder(layout.results(params, kind)) as folder:
        for name, table in tables:
            results.write(table, folder / f"{name}.csv")
