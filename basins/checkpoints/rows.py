"""A folder of rows about one dataset, to which commands add."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from basins import results
from basins.errors import UserError
from basins.store import whole_file

PAIR = ["experiment", "model_a", "model_b", "path", "alignment", "batchnorm", "eval_set"]
KEYS = {
    "paths": PAIR,
    "barriers": PAIR,
    "probes": ["recipe", "seed", "slice"],
    "clusters": ["experiment"],
    "cluster_choice": ["experiment"],
    "association": ["experiment"],
    "merge": ["merge"],
    "plane": ["plane"],
}
"""The possible tables, and the columns by which new rows replace older ones."""

PROVENANCE = "provenance.json"


def check(folder: Path, came_from: Mapping[str, Any]) -> None:
    """Raise `UserError` if the folder has rows of other data, or of other models of a same name."""
    before = provenance(folder)
    if before.get("data", came_from["data"]) != came_from["data"]:
        raise UserError(f"{folder}: it has rows of other data; choose another --out")
    for name, digest in before.get("models", {}).items():
        if came_from["models"].get(name, digest) != digest:
            raise UserError(f"{folder}: it has rows of another model {name}; choose another --out")


def add(folder: Path, tables: Mapping[str, pd.DataFrame], came_from: Mapping[str, Any]) -> None:
    """Add rows to those in the folder; rows with equal keys are replaced."""
    check(folder, came_from)
    for name, table in tables.items():
        file, keys = folder / f"{name}.csv", KEYS[name]
        if file.is_file():
            old = results.read(file)
            new = _ids(table, keys)
            kept = old.loc[~_ids(old, keys).isin(new)]
            table = pd.concat([kept, table], ignore_index=True) if len(kept) else table
        results.write(table, file)
    before = provenance(folder)
    found = {**before, **came_from, "models": before.get("models", {}) | came_from["models"]}
    # One entry per table, as tables may be written by different commands.
    told = dict.fromkeys(tables, came_from.get("double_entry", {}))
    found["double_entry"] = before.get("double_entry", {}) | told
    with whole_file(folder / PROVENANCE) as file:
        file.write_text(json.dumps(found, indent=1) + "\n")


def provenance(folder: Path) -> dict[str, Any]:
    """Return the provenance of a folder's rows; empty if it has none."""
    try:
        return json.loads((folder / PROVENANCE).read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / PROVENANCE}: not readable ({error}); delete it") from None


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the tables of a folder, by name; raises `UserError` if it has none."""
    files = {name: folder / f"{name}.csv" for name in KEYS}
    found = {name: results.read(file) for name, file in files.items() if file.is_file()}
    if not found:
        known = ", ".join(f"{name}.csv" for name in KEYS)
        raise UserError(f"{folder}: no rows; give an --out of the other commands ({known})")
    return found


def _ids(table: pd.DataFrame, keys: list[str]) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(table.filter(keys).astype(str))
