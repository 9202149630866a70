"""What models rely on after fine-tuning on clean images, method by method (MMC Tables 1, 3, 4)."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, nan
from typing import Annotated, Literal

import pandas as pd
from pydantic import Field

from basins.claims.published import PUBLISHED
from basins.figures import rows
from basins.tables.table import INTERVAL, Table, interval

SETS = ("NC", "C", "RC", "RI")
"""The columns: the counterfactual sets, whose slices have the same names in small letters."""

UNKNOWN = (nan, nan, nan, nan)
Percent = Annotated[str, Field(pattern=r"^\d+(\.\d+)?$")]


def table(
    tables: Mapping[str, pd.DataFrame],
    *,
    groups: Annotated[dict[Percent, str], Field(min_length=1)],
    methods: Annotated[dict[str, str], Field(min_length=1)],
    start: dict[str, str] | None = None,
    published: Literal["cifar10", "cifar100"] | None = None,
    title: str = "Accuracy after fine-tuning",
) -> Table:
    """Return accuracy (%) on each counterfactual set by cue proportion and method.

    Args:
        tables: rows, by the name of their table; of them `summary/probes` is read.
        groups: fine-tuning groups by cue proportion in percent, such as "80"; shown in its order.
        methods: titles of the methods by their labels within the groups.
        start: recipes of the cue models that the groups start from, by cue proportion; they come
            first in their block.
        published: the dataset whose published numbers stand beside ours.
        title: what stands above the table.

    Raises `UserError` where the table has no such rows. MMC Tables 1, 3 and 4.
    """
    starts = start or {}
    accuracy = {"diagnostic": "counterfactual", "metric": "accuracy"}
    lines = []
    for proportion, group in sorted(groups.items(), key=lambda item: float(item[0])):
        models = {label: (name, f"{group}/{label}") for label, name in methods.items()}
        if proportion in starts:
            models = {"start": ("cue-trained model", starts[proportion])} | models
        for label, (name, recipe) in models.items():
            shown = rows.select(tables, "summary/probes", recipe=recipe, **accuracy)
            cells = shown.set_index("slice")
            line = {"cue %": proportion, "method": name}
            line |= {column: _cell(cells.loc[column.lower()]) for column in SETS}
            if published:
                known = PUBLISHED[published].get(proportion, {}).get(label, UNKNOWN)
                line |= {f"paper {k}": _known(v) for k, v in zip(SETS, known, strict=True)}
            lines.append(line | {"seeds": cells["seeds"].iloc[0]})
    return Table(title, _caption(published), pd.DataFrame(lines))


def _cell(accuracy: pd.Series) -> str:
    """Write mean and interval in percent; one seed has no interval."""
    return interval("z.1f", *(100 * accuracy[INTERVAL].astype(float)))


def _known(value: float) -> str | None:
    """Write a published percentage with the three digits that it has."""
    return f"{value:#.3g}" if isfinite(value) else None


def _caption(published: str | None) -> str:
    beside = "" if published is None else " Columns “paper”: the published means of three seeds."
    return (
        "Percent, mean over seeds with its 95 % interval. NC: without cue; C: with its class's "
        "cue; RC: with a random cue; RI: a random image with the label's cue. A model that has "
        "lost the cue has C and RC near NC, and RI near guessing." + beside
    )
