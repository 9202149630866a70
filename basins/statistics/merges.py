"""Averages of merges over sets of models, and differences to a reference on the same set.

Sets share no model, so each is a unit, like a seed elsewhere.
"""

from __future__ import annotations

import pandas as pd

from basins.statistics.seeds import summarise_models

CHOICE = ["technique", "alignment", "batchnorm", "members"]
KEYS = [*CHOICE, "eval_set", "metric"]
METRICS = ["loss", "accuracy"]


def averages(rows: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Average loss and accuracy over the sets of one merge; `seeds` counts the sets."""
    return summarise_models(_long(rows), KEYS, confidence)


def gains(rows: pd.DataFrame, reference: str, confidence: float) -> pd.DataFrame:
    """Average by how much the loss and accuracy of each technique exceed those of `reference`.

    Differences are taken within sets, so that the difficulty of a set cancels, in the same
    BatchNorm mode, and with the same alignment unless the reference has only one.
    """
    long = _long(rows)
    baseline = long.loc[long["technique"] == reference]
    on = ["batchnorm", "eval_set", "metric", "seed"]
    on += ["alignment"] if baseline["alignment"].nunique() > 1 else []
    other = baseline[[*on, "value"]]
    both = long.merge(other, on=on, suffixes=("", "_reference"), validate="many_to_one")
    differences = both.assign(value=both["value"] - both["value_reference"])
    return summarise_models(differences, KEYS, confidence, differences=True)


def _long(rows: pd.DataFrame) -> pd.DataFrame:
    names = [*CHOICE, "eval_set", "set"]
    long = rows.melt(id_vars=names, value_vars=METRICS, var_name="metric")
    return long.rename(columns={"set": "seed"})
