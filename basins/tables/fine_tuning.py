"""What models rely on after fine-tuning on clean images, by method (MMC Tables 1, 3, 4)."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Literal

import pandas as pd
from pydantic import Field

from basins.claims.published import Percent, agreement
from basins.figures.fine_tuning import compared
from basins.tables.table import INTERVAL, Table, interval


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
        tables: rows, by the name of their table, of which `summary/probes` is read.
        groups: fine-tuning groups by cue proportion in percent, such as "80"; shown in this order.
        methods: titles of the methods by their labels within the groups.
        start: recipes of the cue models that the groups start from, by cue proportion; they come
            first in their block.
        published: the dataset whose published numbers are shown.
        title: the title of the table.

    Raises `UserError` if the table has no such rows. MMC Tables 1, 3 and 4.
    """
    names = {"start": "cue-trained model", **methods}
    made = compared(tables, groups, methods, published or "", start)
    lines = []
    for _, cells in made.groupby(["proportion", "method"], sort=False):
        of = cells.set_index(cells["set"].str.upper())
        line = {"cue %": of["proportion"].iloc[0], "method": names[of["method"].iloc[0]]}
        line |= {s: interval("z.1f", *(100 * of.loc[s, INTERVAL].astype(float))) for s in of.index}
        if published:
            line |= {f"paper {s}": _known(100 * of.loc[s, "published"]) for s in of.index}
            known = of.loc[of["published"].notna()]
            line["number matches"] = _sets(dict(known["matches"]))
            line["place matches"] = _sets(dict(known["rank"].eq(known["rank_published"])))
        lines.append(line | {"seeds": of["seeds"].iloc[0]})
    return Table(title, _caption(made, published), pd.DataFrame(lines))


def _sets(same: Mapping[str, bool]) -> str | None:
    """Write the sets for which `same` is true; None if none can be compared."""
    return (", ".join(name for name in same if same[name]) or "none") if same else None


def _known(value: float) -> str | None:
    """Write a published percentage with its three digits."""
    return f"{value:#.3g}" if isfinite(value) else None


def _caption(made: pd.DataFrame, published: str | None) -> str:
    text = (
        "Percent, mean over seeds with its 95 % interval. NC: without the cue; C: with the cue of "
        "the class; RC: with a random cue; RI: a random image with the cue of the label. A model "
        "that does not rely on the cue has C and RC near NC, and RI near guessing."
    )
    if not published:
        return text
    same = agreement(made)
    return (
        f"{text} Columns “paper”: the published means of three seeds. A number matches if our "
        f"interval contains it, as {same.matched} of {same.cells} do (a wide interval contains "
        "more). The place of a method is its rank by mean among those of its cue proportion on a "
        f"set: {same.ordered} of {same.pairs} pairs of methods are in the paper's order."
    )
