"""Tables as text cells, Markdown and LaTeX, with the same digits in each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from math import floor, isfinite, log10

import pandas as pd
from pandas.api.types import is_bool_dtype, is_float_dtype, is_numeric_dtype

from basins.figures import merges, style

ABSENT = "–"
"""The symbol of a missing value."""

NUMBER = re.compile(r"[+-]?[\d.]+(e[+-]\d+)?( \[.*\])?")
"""A text that is a number, with or without an interval."""


KEYS = {
    "experiment": "models",
    "recipe": "models",
    "recipe_a": "first model",
    "recipe_b": "second model",
    "init": "initialisation",
    "eval_set": "set",
    "slice": "set",
    "path": "path",
    "alignment": "matching",
    "batchnorm": "BatchNorm",
    "measure": "measure",
    "technique": "technique",
}
"""Columns whose cells are keys of the settings, and their names on pages."""


def decimals(values: Iterable[float]) -> int:
    """Return suitable decimals for the largest of `values`: 0.951, 8.214, 12.34, 0.0512."""
    largest = max((abs(v) for v in values if isfinite(v)), default=0.0)
    if largest == 0:
        return 0
    exponent = floor(log10(largest))
    return max(0, 3 - exponent if exponent >= 0 else 2 - exponent)


def number(value: float, places: int) -> str:
    """Write `value` with `places` decimals, or in scientific notation for more than six."""
    if not isfinite(value):
        return ABSENT if value != value else f"{value:+}"
    return f"{value:z.{places}f}" if places <= 6 else f"{value:.2e}"


def cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `frame` as strings; all floats of a column have the same number of decimals."""
    return pd.DataFrame(
        {k: _texts(frame.iloc[:, k]) for k in range(frame.shape[1])}, dtype=object
    ).set_axis(frame.columns, axis=1)


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `frame` as texts without keys, with means and intervals in one column."""
    texts = cells(frame)
    for name in KEYS.keys() & set(frame.columns):
        word = merges.called if name == "technique" else _word
        texts[name] = texts[name].map(word)
    if {"mean", "ci_low", "ci_high"} <= set(frame.columns):
        ends = texts.pop("ci_low") + ", " + texts.pop("ci_high")
        texts["mean"] = texts["mean"] + " [" + ends + "]"
        texts = texts.rename(columns={"mean": "mean [95 % interval]"})
    return texts.rename(columns=KEYS)


def _word(key: str) -> str:
    return key.upper() if key in style.EVAL_SETS else style.display(key)


def right_aligned(frame: pd.DataFrame) -> list[bool]:
    """Return, for each column, whether it holds numbers, possibly as texts with an interval."""
    return [_holds_numbers(frame.iloc[:, k]) for k in range(frame.shape[1])]


def markdown(frame: pd.DataFrame) -> str:
    """Return `frame` as a Markdown table without its index, ending in a newline."""
    rule = ["---:" if right else ":---" for right in right_aligned(frame)]
    header = [_markdown_cell(str(name)) for name in frame.columns]
    body = [[_markdown_cell(text) for text in row] for row in cells(frame).itertuples(index=False)]
    return "".join(f"| {' | '.join(row)} |\n" for row in [header, rule, *body])


def latex(frame: pd.DataFrame, *, wide: str | None = None) -> str:
    """Return `frame` as a LaTeX `tabular` with booktabs rules, without its index.

    If the first column groups rows, there is space between groups. With a column `wide` of
    sentences, it is a `longtable`, which wraps them and breaks across pages.
    """
    aligned = zip(frame.columns, right_aligned(frame), strict=True)
    layout = "".join(
        "p{0.35\\linewidth}" if name == wide else "r" if right else "l" for name, right in aligned
    )
    texts = cells(frame).map(_one_line)
    lines = texts.to_latex(index=False, escape=True, column_format=layout).splitlines(keepends=True)
    body = lines.index("\\midrule\n") + 1
    first = texts.iloc[:, 0].tolist()
    starts = [k for k in range(1, len(first)) if first[k] != first[k - 1]]
    if len(starts) < len(first) - 1:
        for k in reversed(starts):
            lines.insert(body + k, "\\addlinespace\n")
    written = "".join(lines)
    return written.replace("{tabular}", "{longtable}") if wide else written


def _holds_numbers(column: pd.Series) -> bool:
    if is_numeric_dtype(column.dtype):
        return not is_bool_dtype(column.dtype)
    texts = [str(value) for value in column.dropna() if value != ABSENT]
    return bool(texts) and all(map(NUMBER.fullmatch, texts))


def _texts(column: pd.Series) -> list[str]:
    if not is_float_dtype(column.dtype):
        return [ABSENT if pd.isna(value) else str(value) for value in column]
    values = [float(value) for value in column.to_numpy(dtype=float, na_value=float("nan"))]
    whole = all(value.is_integer() for value in values if isfinite(value))
    places = 0 if whole else decimals(values)
    return [number(value, places) for value in values]


def _markdown_cell(text: str) -> str:
    return escape(_one_line(text), quote=False).replace("|", "\\|")


def _one_line(text: str) -> str:
    return " ".join(text.split())
