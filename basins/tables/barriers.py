"""Barriers of the error along the paths of each experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import pandas as pd
from pydantic import Field

from basins.figures import rows
from basins.tables.table import Table, in_percent

PAIR = ["experiment", "recipe_a", "recipe_b", "init", "path", "alignment", "batchnorm", "eval_set"]


def table(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiments: Annotated[list[str], Field(min_length=1)] | None = None,
) -> Table:
    """Return the linear barrier of the error (points) by pair of recipes, path and set.

    Reads `summary/barriers`; `experiments` are those that are shown, in their order; by default
    all.

    Raises `UserError` if the table has no such rows.
    """
    equal = {"metric": "error", "definition": "barrier_linear", "experiment": experiments}
    shown = rows.select(tables, "summary/barriers", **equal)
    return Table(
        "Barriers of the error along the paths",
        "Percentage points above the chord, with 95 % intervals over seeds.",
        in_percent(shown, PAIR, ["seeds", "pairs"]),
    )
