"""What every table is, and how shares stand in it."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

INTERVAL = ["mean", "ci_low", "ci_high"]


class Table(NamedTuple):
    """A table of the report; its index is not shown."""

    title: str
    caption: str
    frame: pd.DataFrame


def in_percent(rows: pd.DataFrame, before: list[str], after: list[str]) -> pd.DataFrame:
    """Return the columns `before`, mean and interval (shares) in percent, and those `after`."""
    return pd.concat([rows[before], 100 * rows[INTERVAL], rows[after]], axis="columns")
