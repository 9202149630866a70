"""What models rely on after fine-tuning on clean images, method by method (MMC Tables 1, 3, 4)."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, nan
from typing import Annotated, Literal

import pandas as pd
from pydantic import Field

from basins.figures import rows
from basins.tables.table import Table

SETS = ("NC", "C", "RC", "RI")
"""The columns: the counterfactual sets, whose slices have the same names in small letters."""

UNKNOWN = (nan, nan, nan, nan)
SCRATCH = (47.5, nan, nan, nan)

PUBLISHED = {
    "cifar10": {
        "60": {
            "medium": (75.7, 98.4, 23.6, 83.4),
            "small": (75.8, 98.7, 17.5, 90.1),
            "llrt": (71.6, 95.1, 36.3, 57.1),
            "lpft": (70.6, 88.1, 21.0, 70.7),
            "cbft": (74.1, 71.5, 73.4, 8.75),
            "scratch": SCRATCH,
        },
        "70": {
            "medium": (75.8, 98.6, 27.7, 78.6),
            "small": (74.9, 98.8, 16.3, 91.1),
            "llrt": (70.9, 95.8, 29.9, 65.8),
            "lpft": (69.6, 87.3, 18.7, 72.5),
            "cbft": (73.2, 69.2, 72.3, 8.60),
            "scratch": SCRATCH,
        },
        "80": {
            "medium": (71.3, 97.7, 37.6, 63.6),
            "small": (69.9, 98.4, 15.7, 90.9),
            "llrt": (65.1, 81.8, 27.0, 53.2),
            "lpft": (64.4, 63.8, 18.8, 48.0),
            "cbft": (70.0, 70.0, 69.5, 9.68),
            "scratch": SCRATCH,
        },
        "90": {
            "medium": (67.2, 95.4, 49.6, 46.6),
            "small": (64.7, 97.9, 15.3, 90.7),
            "llrt": (59.3, 70.7, 24.6, 40.7),
            "lpft": (59.7, 56.6, 19.8, 37.8),
            "cbft": (67.9, 72.5, 68.1, 13.1),
            "scratch": SCRATCH,
        },
    },
    "cifar100": {
        "90": {
            "small": (nan, nan, nan, 30.9),
            "lpft": (nan, nan, nan, 19.6),
            "cbft": (nan, nan, nan, 46.0),
        },
    },
}
"""Accuracy (%) as published, by dataset, cue proportion (%) and method, on `SETS`.

Means of three seeds. Table 1 on CIFAR-10: the authors' ICML 2023 poster; CIFAR-100 and Table 4
(from scratch, whatever the proportion): as others quote them from the paper. Not known: not a
number.
"""
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
            models = {"start": ("cue model", starts[proportion])} | models
        for label, (name, recipe) in models.items():
            found = rows.select(tables, "summary/probes", recipe=recipe, **accuracy)
            cells = found.set_index("slice")
            line = {"cue %": proportion, "method": name}
            line |= {column: _cell(cells.loc[column.lower()]) for column in SETS}
            if published:
                known = PUBLISHED[published].get(proportion, {}).get(label, UNKNOWN)
                line |= {f"paper {k}": _known(v) for k, v in zip(SETS, known, strict=True)}
            lines.append(line | {"seeds": cells["seeds"].iloc[0]})
    return Table(title, _caption(published), pd.DataFrame(lines))


def _cell(accuracy: pd.Series) -> str:
    """Write mean and interval in percent; one seed has no interval."""
    mean, low, high = (100 * accuracy[["mean", "ci_low", "ci_high"]]).astype(float)
    return f"{mean:z.1f} [{low:z.1f}, {high:z.1f}]" if isfinite(low) else f"{mean:z.1f}"


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
