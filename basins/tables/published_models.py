"""The paper's own models by cluster: in distribution and on HANS (LCRGS, section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Annotated

import pandas as pd
from pydantic import Field

from basins.figures import rows
from basins.tables.table import Table, interval

CAPTION = (
    "Accuracy (%) of the hundred MNLI models of McCoy, Min & Linzen (2019), by the clusters that "
    "LCRGS published for them. r: point-biserial correlation with membership of the smaller "
    "cluster; AUC: how often its models have the lower accuracy; partial r: given the accuracy on "
    "MNLI; p: permutation p of the partial r. 95 % intervals over models."
)


def table(
    tables: Mapping[str, pd.DataFrame],
    *,
    groups: Annotated[list[str], Field(min_length=1)] | None = None,
) -> Table:
    """Return a row for each set: accuracies (%) of all models and both clusters, and correlations.

    Reads `published_models`; `groups` are the groups of sets that are shown, in their order; by
    default all. Raises `UserError` if the table has no such rows.
    """
    shown = rows.select(tables, "published_models", group=groups)
    frame = pd.DataFrame(
        {
            "set": shown["name"],
            "label": shown["label"].fillna(""),
            "all": (100 * shown["mean"]).map("{:.1f}".format),
            "larger": (100 * shown["large"]).map("{:.1f}".format),
            "smaller": (100 * shown["small"]).map("{:.1f}".format),
            "r": [interval(".2f", *row) for row in shown[_columns("r")].to_numpy()],
            "AUC": shown["auc"].map("{:.3f}".format),
            "partial r": [interval(".2f", *row) for row in shown[_columns("partial")].to_numpy()],
            "p": shown["p_partial"].map(lambda p: f"{p:.2g}" if isfinite(p) else ""),
        }
    )
    return Table("The published models, by their clusters", CAPTION, frame.reset_index(drop=True))


def _columns(name: str) -> list[str]:
    return [name, f"{name}_low", f"{name}_high"]
