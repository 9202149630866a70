"""Which models of an experiment have learned their task: what is said of it is said of those.

A seed that fails to learn is far from all others, in its weights and in how it generalises, and by
itself decides variances and clusters. `clusters.<name>.learned` is the rule that leaves it out,
fixed before a run; its rows are kept, and the ledger names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from basins import layout, results
from basins.errors import UserError
from basins.probes.binary import BASE

if TYPE_CHECKING:
    from basins.settings import Params


def failed(probes: pd.DataFrame, models: Iterable[str], margin: float) -> list[str]:
    """Return the models whose accuracy on `test` is not `margin` over the commonest class's share.

    Raises `UserError` where a model has no such rows: then it is not known.
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
    """Return the models that rows of pairs are of."""
    return {*rows["model_a"], *rows["model_b"]}


def without(rows: pd.DataFrame, left_out: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Return rows of pairs without those of models that are left out of their `experiment`."""
    kept = np.ones(len(rows), bool)
    for experiment, names in left_out.items():
        either = rows["model_a"].isin(names) | rows["model_b"].isin(names)
        kept &= ~((rows["experiment"] == experiment) & either).to_numpy()
    return rows.loc[kept]


def read_all(params: Params) -> dict[str, pd.DataFrame]:
    """Return the tables of a profile, without the pairs of models that failed.

    These are in the table `left_out`: `experiment, model`.
    """
    tables = dict(results.read_all(layout.results(params)))
    found = left_out(params, tables)
    named = [(experiment, model) for experiment, out in found.items() for model in out]
    if named:
        tables |= {name: without(tables[name], found) for name in ("paths", "barriers")}
    return {**tables, "left_out": pd.DataFrame(named, columns=["experiment", "model"])}
