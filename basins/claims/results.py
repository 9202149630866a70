"""A profile's rows as claims select them, and the means and contrasts that are taken of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import ndtri

from basins.errors import UserError
from basins.statistics.seeds import contrast, ends, jackknife

EvalSet = Literal["nc", "c", "rc", "ri"]
Init = Literal["shared", "separate"]
Interval = dict[str, Any]


@dataclass(frozen=True)
class Results:
    """A profile's tables, and the confidence of intervals that are taken from them.

    What is asked for and not there raises `UserError`, naming what there is.
    """

    tables: Mapping[str, pd.DataFrame]
    confidence: float

    def at(self, confidence: float) -> Results:
        """Return the same tables under another confidence."""
        return replace(self, confidence=confidence)

    def rows(self, table: str, **equal: object) -> pd.DataFrame:
        """Return the rows of `table` whose columns equal `equal`."""
        if table not in self.tables:
            raise UserError(f"no table {table!r}; there are: {_listed(self.tables)}")
        selected = self.tables[table]
        for column, value in equal.items():
            kept = selected.loc[selected[column] == value]
            if kept.empty:
                there = _listed(selected[column].unique())
                raise UserError(f"{table} has no {column} {value!r}; there are: {there}")
            selected = kept
        return selected

    def pairs(
        self,
        experiment: str,
        eval_set: str,
        *,
        path: str = "linear",
        alignment: str = "none",
        batchnorm: str = "interpolate",
        metric: str = "loss",
        table: str = "barriers",
        **equal: object,
    ) -> pd.DataFrame:
        """Return the barriers of an experiment's pairs, one row a pair."""
        choice = {"path": path, "alignment": alignment, "batchnorm": batchnorm}
        choice |= {"eval_set": eval_set, "metric": metric}
        return self.rows(table, experiment=experiment, **equal, **choice)

    def aspect(self, aspect: str, test: str, quantity: str, **equal: object) -> pd.DataFrame:
        """Return the rows of a quantity of the SoK's tests, perhaps none."""
        rows = self.rows(f"aspects/{aspect}")
        for column, value in {"test": test, "quantity": quantity, **equal}.items():
            rows = rows.loc[rows[column] == value]
        return rows.loc[rows["value"].notna()].astype({"value": float})

    def clusters(self, experiment: str) -> dict[str, int]:
        """Return the cluster of each model by convexity gaps, 0 the largest."""
        rows = self.rows("clusters", experiment=experiment, measure="convexity_gap")
        return dict(zip(rows["model"], rows["cluster"], strict=True))

    def accuracy(self, recipe: str, slice_: str) -> pd.Series:
        """Return the accuracy of a recipe's models on a set, a share, by seed."""
        rows = self.rows(
            "probes", recipe=recipe, diagnostic="counterfactual", metric="accuracy", slice=slice_
        )
        return pd.Series(rows["value"].to_numpy(), index=rows["seed"])

    def probed(
        self, experiment: str, slice_: str, metric: str, *, smaller: bool = False
    ) -> pd.DataFrame:
        """Return what was measured of an experiment's models, or of its smaller cluster's."""
        labels = self.clusters(experiment)
        models = [name for name, label in labels.items() if label > 0 or not smaller]
        rows = self.rows("probes", slice=slice_, metric=metric)
        return rows.loc[(rows["recipe"] + "/seed" + rows["seed"].astype(str)).isin(models)]

    def mean(self, rows: pd.DataFrame, column: str = "value") -> Interval:
        """Return the mean of a column with its interval over units; of no rows, not a number.

        Units are seeds where `rows` has `model_a` and `model_b` (`recipe/seedK`) or `seed`, and
        models where it has `models` (`a + b`).
        """
        return jackknife(rows[column].to_numpy(), units(rows), self.confidence)

    def over_seeds(self, values: pd.Series) -> Interval:
        """Return the mean of values by seed with its interval."""
        return jackknife(values.to_numpy(), [values.index.to_numpy()], self.confidence)

    def contrast(self, rows: pd.DataFrame, others: pd.DataFrame, column: str = "value") -> Interval:
        """Return the mean of a column over rows, less that over others.

        A unit is left out of both at once.
        """
        both = pd.concat([rows, others])
        first = np.arange(len(both)) < len(rows)
        return contrast(both[column].to_numpy(), first, units(both), self.confidence)


def units(rows: pd.DataFrame) -> list[np.ndarray]:
    """Return what is left out in turn, one array [n] for each that takes part in a row."""
    if "unit" in rows:
        return [rows["unit"].to_numpy(str)]
    if "unit_a" in rows:
        return [rows["unit_a"].to_numpy(str), rows["unit_b"].to_numpy(str)]
    if "models" in rows:
        sets = [models.split(" + ") for models in rows["models"]]
        most = max(map(len, sets), default=1)
        return [np.array([own[min(k, len(own) - 1)] for own in sets], str) for k in range(most)]
    if "seed" in rows:
        return [rows["seed"].to_numpy()]
    seeds = ends(rows)
    return [seeds["seed_a"].to_numpy(), seeds["seed_b"].to_numpy()]


def one(row: pd.Series, name: str, low: str = "ci_low", high: str = "ci_high") -> Interval:
    """Return the interval that a row of estimates has, over its `n` models."""
    values = row[[name, low, high, "n"]].astype(float)
    return dict(zip(("mean", "ci_low", "ci_high", "seeds"), values, strict=True))


def _listed(names: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, names))) or "none"


def cluster_test(results: Results, experiment: str) -> Interval:
    """Return the p of the test that the convexity gaps part an experiment's models into clusters.

    `mean` is p, and `seeds` the models. The one place that chooses the test.
    """
    ids = {"experiment": experiment, "measure": "convexity_gap", "statistic": "chosen"}
    row = results.rows("cluster_choice", **ids).iloc[0]
    found = {"mean": float(row["p"]), "ci_low": np.nan, "ci_high": np.nan, "seeds": row["n"]}
    found |= {"method": "the larger p of the eigengap's and the gap statistic's null models"}
    if not np.isfinite(row["ci_low"]):  # as of hardly any partition of few models
        found |= {"decides": False, "note": f"{row['n']:g} models are too few for the test"}
    return found


def clustered(results: Results, experiment: str) -> str:
    """Return that no clusters are shown where that is so, or nothing."""
    found = cluster_test(results, experiment)
    p = found["mean"]
    if found.get("decides", True) and p < 1 - results.confidence:
        return ""
    return f"no clusters are shown in {experiment}: p = {p:.2g} with {found['seeds']:g} models"


def varied(results: Results, options: Mapping[str, Any]) -> str:
    """Say that models do not differ on a diagnostic where they do so by no more than its noise."""
    slice_, metric = options["slice"], options.get("metric", "accuracy")
    rows = results.probed(options["experiment"], slice_, metric)
    low, high, values = rows[["ci_low", "ci_high", "value"]].to_numpy(float).T
    noise = float((high - low).mean() / 2 / ndtri((1 + results.confidence) / 2))
    spread = float(values.std(ddof=1))
    if spread >= 2 * noise:
        return ""
    return (
        f"no variance of strategy: the {metric} on {slice_} has a deviation of {spread:.3f} "
        f"between models, and of {noise:.3f} between samples of its examples"
    )
