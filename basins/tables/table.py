"""The type of all tables, and how shares and intervals are written."""

from __future__ import annotations

from math import isfinite
from typing import NamedTuple

import pandas as pd

INTERVAL = ["mean", "ci_low", "ci_high"]


class Table(NamedTuple):
    """A table of the report; its index is not shown."""

    title: str
    caption: str
    frame: pd.DataFrame


def in_percent(rows: pd.DataFrame, before: list[str], after: list[str]) -> pd.DataFrame:
    """Return the columns `before`, the mean and interval (shares) in percent, and `after`."""
    return pd.concat([rows[before], 100 * rows[INTERVAL], rows[after]], axis="columns")


def interval(form: str, mean: float, low: float, high: float) -> str:
    """Write a mean and its interval in a format such as `.2f`, if they exist."""
    ends = f" [{low:{form}}, {high:{form}}]" if isfinite(low) else ""
    return f"{mean:{form}}{ends}" if isfinite(mean) else ""
