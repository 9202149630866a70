"""Exclude models that failed to learn their task from the statistics of an experiment.

A seed that fails to learn is far from all others, in its weights and in how it generalises, and can
dominate variances and clusters. `clusters.<name>.learned` is the rule for leaving it out, fixed
before a run; its rows are kept, and the ledger names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from basins import layout, results
from basins.errors import UserError
from basins.results import BASE

if TYPE_CHECKING:
    from basins.settings import Params


def failed(probes: pd.DataFrame, models: Iterable[str], margin: float) -> list[str]:
    """Return the models whose accuracy on `test` is not `margin` above the base rate.

    The base rate is the share of the most frequent class. Raises `UserError` if it or the accuracy
    of a model is missing.
    """
    named = probes.assign(model=probes["recipe"] + "/seed" + probes["seed"].astype(str))
    rows = named.loc[(named["slice"] == "test") & named["metric"].isin(["accuracy", BASE])]
    values = rows.pivot(index="model", columns="metric", values="value").reindex(sorted(models))
    lacking = values.index[values.isna().any(axis="columns")]
    if len(lacking) or values.empty:
        raise UserError(f"no accuracy and base rate on test of {', '.join(lacking) or 'any model'}")
    return list(values.index[values["accuracy"] < values[BASE] + margin])


def left_out(params: Params, tables: Mapping[str, pd.DataFrame]) -> dict[str, list[str]]:
    """Return, by experiment, the models that failed by the rule of the profile, if it has one."""
    found: dict[str, list[str]] = {}
    for key, made in params.clusters.items():
        if made.learned is not None:
            rows = tables["barriers"]
            rows = rows.loc[rows["experiment"] == made.experiment]
            try:
                found[made.experiment] = failed(tables["probes"], models(rows), made.learned)
            except UserError as error:
                raise UserError(f"clusters.{key}.learned: {error}") from None
    return found


def models(rows: pd.DataFrame) -> set[str]:
    """Return the models in rows of pairs."""
    return {*rows["model_a"], *rows["model_b"]}


def without(rows: pd.DataFrame, left_out: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Return rows of pairs without those that involve models left out of their `experiment`."""
    kept = np.ones(len(rows), bool)
    for experiment, names in left_out.items():
        either = rows["model_a"].isin(names) | rows["model_b"].isin(names)
        kept &= ~((rows["experiment"] == experiment) & either).to_numpy()
    return rows.loc[kept]


def kept(
    experiment: str, tables: Iterable[pd.DataFrame], probes: pd.DataFrame, margin: float | None
) -> list[pd.DataFrame]:
    """Return tables of pairs of an experiment without models that failed by this margin, if any."""
    every = list(tables)
    if margin is None:
        return every
    out = {experiment: failed(probes, models(every[0]), margin)}
    return [without(table, out) for table in every]


def read_all(params: Params) -> dict[str, pd.DataFrame]:
    """Return the tables of a profile, without pairs of models that failed.

    The table `left_out` lists these models: `experiment, model`.
    """
    tables = dict(results.read_all(layout.results(params)))
    found = left_out(params, tables)
    named = [(experiment, model) for experiment, out in found.items() for model in out]
    if named:
        tables |= {name: without(tables[name], found) for name in ("paths", "barriers")}
    return {**tables, "left_out": pd.DataFrame(named, columns=["experiment", "model"])}
