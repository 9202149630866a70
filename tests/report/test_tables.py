"""Tables show sensible digits, align numbers, and let no text break out of its cell."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from basins.report import tables

FRAME = pd.DataFrame(
    {
        "recipe": ["a_b", "x|y <i>\nz"],
        "mean": [0.95123, -0.00001],
        "n": [10, 2000],
        "seeds": [5.0, np.nan],
    }
)


def test_a_column_has_one_number_of_decimals_and_no_negative_zero():
    assert tables.cells(FRAME).to_numpy().tolist() == [
        ["a_b", "0.951", "10", "5"],
        ["x|y <i>\nz", "0.000", "2000", "–"],
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.9512, "0.951"), (8.2141, "8.214"), (12.341, "12.34"), (0.05123, "0.0512"),
     (12345.6, "12346"), (1.23e-9, "1.23e-09"), (float("inf"), "+inf")],
)  # fmt: skip
def test_decimals_follow_the_largest(value, shown):
    assert tables.number(value, tables.decimals([value, 0.0])) == shown


def test_markdown():
    assert tables.markdown(FRAME).splitlines() == [
        "| recipe | mean | n | seeds |",
        "| :--- | ---: | ---: | ---: |",
        "| a_b | 0.951 | 10 | 5 |",
        "| x\\|y &lt;i&gt; z | 0.000 | 2000 | – |",
    ]


def test_latex_has_booktabs_rules_and_escapes():
    text = tables.latex(FRAME)
    assert text.startswith("\\begin{tabular}{lrrr}\n\\toprule\n")
    assert "a\\_b & 0.951 & 10 & 5 \\\\" in text
    assert text == tables.latex(FRAME.copy())


def test_an_empty_table_is_its_header():
    assert tables.markdown(FRAME.head(0)).count("\n") == 2
