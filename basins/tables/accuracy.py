"""What the models of each recipe rely on: accuracy on the counterfactual sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import pandas as pd
from pydantic import Field

from basins.figures import rows
from basins.tables.table import Table, in_percent


def table(
    tables: Mapping[str, pd.DataFrame],
    *,
    recipes: Annotated[list[str], Field(min_length=1)] | None = None,
) -> Table:
    """Return accuracy (%) by recipe and counterfactual set, with its interval over seeds.

    Reads `summary/probes`; `recipes` are those that are shown, in their order; by default all.

    Raises `UserError` if the table has no such rows.
    """
    shown = rows.select(tables, "summary/probes", metric="accuracy", recipe=recipes)
    return Table(
        "Accuracy on the counterfactual sets",
        "Percent, with 95 % intervals over seeds. NC: without the cue; C: with the cue of the "
        "class; RC: with a random cue; RI: a random image with the cue of the label.",
        in_percent(shown, ["recipe", "slice"], ["seeds"]),
    )
