"""How shares and intervals stand in tables."""

from __future__ import annotations

from math import nan

from basins.tables.table import interval


def test_an_interval_stands_as_far_as_there_is_one():
    assert interval(".2f", 0.5, 0.25, 0.75) == "0.50 [0.25, 0.75]"
    assert interval("z.1f", -0.01, -1, 1) == "0.0 [-1.0, 1.0]"
    assert interval(".2f", 0.5, nan, nan) == "0.50"
    assert interval(".2f", nan, nan, nan) == ""
