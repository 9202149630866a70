"""How many clusters the models of an experiment fall into, and the evidence (LCRGS)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import pandas as pd
from pydantic import Field

from basins.errors import UserError
from basins.figures import rows
from basins.tables.table import Table, interval

CAPTION = (
    "Clusters: how many are shown; 1 means that none are shown, not that there are none. p: for "
    "the null of gaps with effects of single models and no clusters. Apart: by how many standard "
    "deviations log gaps between the best clusters exceed those within. Alike: p for the null that "
    "the residuals of the clusters are noise. Sizes are those of two clusters, the number fixed in "
    "the paper; ratio: mean gap between them divided by that within. Rand: adjusted Rand index "
    "over subsets of the models and over resamples of the examples. Divided by their gaps, models "
    "without clusters have a ratio above 1 (1.3 to 6.5 by the effects of single models, permuted "
    "otherwise) and agree over subsets (.3 to .6), too. Triangles: the share (%) in which the "
    "longest gap exceeds the sum of the others."
)


def table(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiments: Annotated[list[str], Field(min_length=1)] | None = None,
) -> Table:
    """Return a row for each experiment and measure.

    Reads `clusters` and `cluster_choice`; `experiments` are those that are shown, in their order;
    by default all. Raises `UserError` if the tables have no such rows.
    """
    choices = rows.select(tables, "cluster_choice", experiment=experiments)
    models = rows.select(tables, "clusters", experiment=experiments)
    groups = choices.groupby(["experiment", "measure"], sort=False)
    lines = [_line(part, models) for _, part in groups]
    return Table("Clusters of models on the loss surface", CAPTION, pd.DataFrame(lines))


def _line(part: pd.DataFrame, models: pd.DataFrame) -> dict[str, object]:
    experiment, measure = part.iloc[0][["experiment", "measure"]]
    known = part.loc[part["statistic"] != "width"].set_index("statistic")
    members = models.loc[(models["experiment"] == experiment) & (models["measure"] == measure)]
    if "chosen" not in known.index or members.empty:
        raise UserError(f"cluster_choice has no number of clusters of {experiment} by {measure}")
    sizes = members["cluster"].value_counts().sort_index()
    return {
        "experiment": experiment,
        "measure": measure,
        "clusters": int(known.at["chosen", "k"]),
        "p": f"{known.at['chosen', 'p']:.2g}",
        "apart": _written(known, "apart", ".1f"),
        "alike": _written(known, "alike", ".2g"),
        "sizes": " + ".join(map(str, sizes)),
        "ratio": _written(known, "separation", ".2f"),
        "Rand, models": _written(known, "stability_models", ".2f"),
        "Rand, examples": _written(known, "stability_examples", ".2f"),
        "triangles (%)": _written(known, "triangle_share", ".1f", 100),
    }


def _written(known: pd.DataFrame, statistic: str, form: str, unit: float = 1) -> str:
    """Return an estimate with its interval, if they exist."""
    if statistic not in known.index:
        return ""
    columns = ["estimate", "ci_low", "ci_high"]
    return interval(form, *(unit * known.loc[statistic, columns].astype(float)))
