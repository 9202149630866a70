"""How a stage begins and ends: its settings, who does its work, and where its models are laid."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basins import layout
from basins.params import pick, read
from basins.settings import Params
from basins.store import folder_hash, seal, whole_file, whole_folder

if TYPE_CHECKING:
    from basins.item import Run


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
    from basins import devices  # torch takes seconds, and not every stage needs it
    from basins.item import runner

    device = devices.pick(params.device)
    scheduler = params.scheduler if params.executor == "dask" else None
    return device, runner(devices.workers(params.workers, device), scheduler)


def lay_out(
    params: Params, name: str, items: Iterable[tuple[Path, str]], lay: Callable[[Path, Path], None]
) -> None:
    """Fill a folder of models as a whole: `lay(item, place)` for every item and its place there."""
    with whole_folder(layout.MODELS / name) as folder:
        for item, place in items:
            lay(item, folder / place)
        seal(folder)
    keep_hash(params, name)


def keep_hash(params: Params, name: str) -> None:
    """Keep the hash of a folder of models beside the rows.

    Stages that read many recipes depend on the hashes, which a clone without models has, too.
    """
    made = {"sha256": folder_hash(layout.MODELS / name)}
    with whole_file(layout.results(params, "models") / f"{name}.json") as file:
        file.write_text(json.dumps(made, indent=1) + "\n")
