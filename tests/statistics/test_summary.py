"""Tables that average over seeds are there, and empty, of a profile that has nothing to average."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from basins import results
from basins.statistics import summary


def test_a_profile_without_paths_or_probes_has_empty_tables():
    empty = {name: pd.DataFrame(columns=list(names)) for name, names in summary.COLUMNS.items()}
    made = summary.summarise(**empty, trained_on={}, confidence=0.95)
    assert all(table.empty and len(table.columns) for table in made.values())


def test_the_columns_of_empty_tables_are_those_of_rows():
    folder = Path(__file__).parents[2] / "reports" / "cifar" / "results"
    for name, names in summary.COLUMNS.items():
        there = results.read(results.file_of(folder, name)).columns
        assert [column for column in there if column in names] == [*names]
