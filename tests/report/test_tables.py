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


def test_numbers_with_their_intervals_stand_right():
    frame = pd.DataFrame(
        {
            "interval": ["70.1 [68.0, 72.2]", "-0.5"],
            "published": ["9.68", None],
            "version": ["1.2 beta", "1.3"],
            "absent": [None, None],
        }
    )
    assert tables.right_aligned(frame) == [True, True, False, False]
    assert tables.markdown(frame).splitlines()[2:] == [
        "| 70.1 [68.0, 72.2] | 9.68 | 1.2 beta | – |",
        "| -0.5 | – | 1.3 | – |",
    ]


@pytest.mark.parametrize(
    ("first", "spaces"),
    [(["a", "a", "b", "c"], [2, 3]), (["a", "b", "c", "d"], []), (["a", "a", "a", "a"], [])],
)
def test_latex_sets_groups_of_rows_apart(first, spaces):
    text = tables.latex(pd.DataFrame({"group": first, "text": ["x", "x\n\ny", "z", "&"]}))
    body = text.partition("\\midrule\n")[2].splitlines()
    found = [k for k, line in enumerate(body) if line == "\\addlinespace"]
    assert found == [k + n for n, k in enumerate(spaces)]
    assert [line for line in body if line.endswith("\\\\")] == [
        f"{name} & {text} \\\\" for name, text in zip(first, ["x", "x y", "z", "\\&"], strict=True)
    ]


def test_an_empty_table_is_its_header():
    assert tables.markdown(FRAME.head(0)).count("\n") == 2
    assert tables.latex(FRAME.head(0)).count("\\\\") == 1


def test_a_wide_column_wraps_and_its_table_breaks_over_pages():
    written = tables.latex(FRAME, wide="recipe")
    assert written.startswith("\\begin{longtable}{p{0.35\\linewidth}rrr}\n")
    assert written.endswith("\\end{longtable}\n") and "tabular" not in written


def test_a_page_has_words_and_one_column_for_a_mean_and_its_interval():
    frame = pd.DataFrame(
        {"recipe_a": ["nocue"], "slice": ["ri"], "alignment": ["none"], "technique": ["swag"],
         "mean": [12.5], "ci_low": [11.25], "ci_high": [float("nan")], "seeds": [3]}
    )  # fmt: skip
    shown = tables.readable(frame)
    assert shown.to_dict("records") == [
        {"first model": "no-cue", "set": "RI", "matching": "units not matched",
         "technique": "SWAG", "mean [95 % interval]": "12.50 [11.25, –]", "seeds": "3"}
    ]  # fmt: skip
    assert tables.right_aligned(shown) == [False, False, False, False, True, True]
