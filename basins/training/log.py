"""The training log, stored with the weights."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def write(rows: Iterable[dict[str, Any]], folder: Path, step: Callable[[], None]) -> None:
    """Write rows to `log.csv` in `folder` as they are produced, and call `step` after each."""
    with (folder / "log.csv").open("w", newline="") as file:
        writer = None
        for row in rows:
            if writer is None:
                writer = csv.DictWriter(file, row, lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)
            step()
