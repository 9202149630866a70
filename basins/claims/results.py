"""The rows of a profile as claims select them, with their means and contrasts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy.special import ndtri

from basins.errors import UserError
from basins.results import BASE
from basins.seeds import generator
from basins.statistics import cluster_rows, factorial
from basins.statistics.clusters import adjusted_rand, matrix
from basins.statistics.seeds import FEWEST, contrast, ends, jackknife, leave_out, over_factors
from basins.statistics.structure import SURE, Several, unsteady
from basins.statistics.verdict import Scale

if TYPE_CHECKING:
    from basins.settings import Params

EvalSet = Literal["nc", "c", "rc", "ri"]
Init = Literal["shared", "separate"]
Interval = dict[str, Any]
Bounds = tuple[float, float]

ANY: Bounds = (-np.inf, np.inf)
SHARE: Bounds = (0, 1)
DIFFERENCE: Bounds = (-1, 1)
"""Also the range of correlations."""

LOSS: Bounds = (0, np.inf)


@dataclass(frozen=True)
class Results:
    """A profile's tables, and the confidence of intervals that are computed from them.

    `in_domain` has each experiment's evaluation set in distribution: the one whose gaps cluster its
    models, or the first that it names. Requests for what does not exist raise a `UserError` that
    names what does.
    """

    tables: Mapping[str, pd.DataFrame]
    confidence: float
    in_domain: Mapping[str, str] = field(default_factory=dict)
    _tested: dict[tuple[str, float], Several] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, params: Params, tables: Mapping[str, pd.DataFrame]) -> Results:
        """Return the tables of a profile with its settings."""
        in_domain = {
            name: made.eval_sets[0] for name, made in params.connect.items() if made.eval_sets
        }
        in_domain |= {made.experiment: made.eval_set for made in params.clusters.values()}
        return cls(tables, params.statistics.confidence, in_domain)

    def at(self, confidence: float) -> Results:
        """Return the same tables with another confidence."""
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
        """Return the barriers of an experiment's pairs, one row a pair.

        Args:
            experiment: one of `connect`.
            eval_set: what the paths were evaluated on.
            path: the kind of path between two models.
            alignment: how the second model was matched to the first.
            batchnorm: the mode of BatchNorm statistics along the path.
            metric: `loss` or `error`.
            table: the table of the rows.
            **equal: further columns and the values that they must have.

        Raises:
            UserError: there is no such table, or it has no such rows.
        """
        choice = {"path": path, "alignment": alignment, "batchnorm": batchnorm}
        choice |= {"eval_set": eval_set, "metric": metric}
        return self.rows(table, experiment=experiment, **equal, **choice)

    def aspect(self, aspect: str, test: str, quantity: str, **equal: object) -> pd.DataFrame:
        """Return the rows of a quantity of the SoK's tests, possibly none."""
        rows = self.rows(f"aspects/{aspect}")
        for column, value in {"test": test, "quantity": quantity, **equal}.items():
            rows = rows.loc[rows[column] == value]
        return rows.loc[rows["value"].notna()].astype({"value": float})

    def gaps(self, experiment: str) -> pd.DataFrame:
        """Return the pairs whose gaps in distribution cluster an experiment's models."""
        if experiment not in self.in_domain:
            there = _listed(self.in_domain)
            raise UserError(
                f"{experiment!r} has no evaluation set in distribution; with one: {there}"
            )
        return self.pairs(experiment, self.in_domain[experiment])

    def several(self, experiment: str) -> Several:
        """Return whether gaps in distribution split an experiment's models into clusters."""
        key = experiment, self.confidence
        if key not in self._tested:  # takes a second, and many claims need it
            rows = self.gaps(experiment)
            self._tested[key] = cluster_rows.several(rows, confidence=self.confidence)
        return self._tested[key]

    def clusters(self, experiment: str) -> dict[str, int]:
        """Return each model's cluster by convexity gaps: two, as in the paper; 0 is the larger.

        `several` tests whether there are any.
        """
        rows = self.rows("clusters", experiment=experiment, measure="convexity_gap")
        return dict(zip(rows["model"], rows["cluster"], strict=True))

    def left_out(self, experiment: str | None) -> list[str]:
        """Return the models of an experiment that failed to learn and are excluded."""
        rows = self.tables.get("left_out", pd.DataFrame(columns=["experiment", "model"]))
        return list(rows.loc[rows["experiment"] == experiment, "model"])

    def accuracy(self, recipe: str, slice_: str) -> pd.Series:
        """Return the accuracy of a recipe's models on a set, a share, by seed."""
        rows = self.rows(
            "probes", recipe=recipe, diagnostic="counterfactual", metric="accuracy", slice=slice_
        )
        return pd.Series(rows["value"].to_numpy(), index=rows["seed"])

    def probed(
        self, experiment: str, slice_: str, metric: str, *, smaller: bool = False
    ) -> pd.DataFrame:
        """Return a diagnostic of an experiment's models, or of its smaller cluster."""
        labels = self.clusters(experiment)
        models = [name for name, label in labels.items() if label > 0 or not smaller]
        rows = self.rows("probes", slice=slice_, metric=metric)
        return rows.loc[(rows["recipe"] + "/seed" + rows["seed"].astype(str)).isin(models)]

    def mean(self, rows: pd.DataFrame, column: str = "value", bounds: Bounds = ANY) -> Interval:
        """Return the mean of a column with its interval over units; NaN without rows.

        Units are seeds where `rows` has `model_a` and `model_b` (`recipe/seedK`) or `seed`, and
        models where it has `models` (`a + b`).
        """
        interval = jackknife(rows[column].to_numpy(), units(rows), self.confidence, bounds)
        return _held(interval, bounds)

    def over_seeds(self, values: pd.Series, bounds: Bounds) -> Interval:
        """Return the mean of values by seed with its interval."""
        seeds = [values.index.to_numpy()]
        return _held(jackknife(values.to_numpy(), seeds, self.confidence, bounds), bounds)

    def contrast(
        self,
        rows: pd.DataFrame,
        others: pd.DataFrame,
        column: str = "value",
        bounds: Bounds = ANY,
    ) -> Interval:
        """Return the mean of a column over rows less that over others, within `bounds`.

        Each unit is left out of both at once; `seeds` are those of the group with fewer.
        """
        both = pd.concat([rows, others])
        first = np.arange(len(both)) < len(rows)
        values, of = both[column].to_numpy(), units(both)
        return _held(contrast(values, first, of, self.confidence, bounds), bounds)

    def leave_out(
        self,
        statistic: Callable[[np.ndarray], float],
        rows: pd.DataFrame,
        bounds: Bounds = ANY,
        rough: str = "",
    ) -> Interval:
        """Return a statistic of the rows that are kept, bool [n], with its interval over units.

        `rough` says why it is not a smooth function of the units; then the interval is not used
        for a verdict.
        """
        interval = leave_out(statistic, units(rows), self.confidence, bounds)
        if rough:
            note = f"{rough}: no interval over models has its nominal coverage"
            interval |= {"decides": False, "note": note}
        return _held(interval, bounds)

    def over_factors(
        self, statistic: Callable[[np.ndarray], float], pairs: pd.DataFrame, *factors: str
    ) -> Interval:
        """Return a statistic of the kept `pairs` of a factorial with its interval over its levels.

        These are the levels of head, order and `factors`.
        """
        levels = factorial.crossed(pairs, *factors)
        return _held(over_factors(statistic, levels, self.confidence), ANY)

    def typed(self, rows: pd.DataFrame, experiment: str) -> pd.DataFrame:
        """Return rows of pairs with their `pair_type`, within or between clusters, cross-fitted.

        The clusters of a pair come from all other gaps of `experiment`, so that its own small gap
        does not put it within a cluster.
        """
        return cluster_rows.typed(rows, self.gaps(experiment))

    def between(self, rows: pd.DataFrame, column: str, experiment: str) -> Interval:
        """Return by how much a column of pairs is higher between the clusters of `experiment`.

        The clusters are part of the estimate. Not for the gaps that they come from.
        """
        gaps = self.gaps(experiment)
        return cluster_rows.between(rows, column, gaps, confidence=self.confidence)

    def steady(self, interval: Mapping[str, Any], experiment: str) -> Interval:
        """Return an interval over seeds of a statistic of clusters, given that they are stable.

        The interval takes the clusters of all models of `experiment` as fixed. So it decides only
        if clustering the models again without each of them gives the same clusters.
        """
        models, gaps = matrix(self.gaps(experiment), "convexity_gap")
        off = unsteady(gaps, 2, generator("unsteady", experiment))
        if not interval["decides"] or not off.any():
            return dict(interval)
        note = f"without {models[int(off.argmax())]} the clusters of the other models differ"
        return {**interval, "decides": False, "note": note}


def units(rows: pd.DataFrame) -> list[np.ndarray]:
    """Return the units to leave out in turn: one array [n] for each place in a row."""
    if "unit" in rows:
        return [rows["unit"].to_numpy(str)]
    if "unit_a" in rows:
        return [rows["unit_a"].to_numpy(str), rows["unit_b"].to_numpy(str)]
    if "models" in rows:
        sets = [models.split(" + ") for models in rows["models"]]
        most = max(map(len, sets), default=1)
        return [np.array([ids[min(k, len(ids) - 1)] for ids in sets], str) for k in range(most)]
    if "seed" in rows:
        return [rows["seed"].to_numpy()]
    seeds = ends(rows)
    return [seeds["seed_a"].to_numpy(), seeds["seed_b"].to_numpy()]


def one(
    row: pd.Series,
    name: str,
    low: str = "ci_low",
    high: str = "ci_high",
    *,
    bounds: Bounds = ANY,
    scale: Scale = "plain",
) -> Interval:
    """Return the interval of a row of estimates over its `n` models.

    It decides nothing if these are fewer than `FEWEST`.

    Args:
        row: the estimates, and `n`.
        name: the column of the estimate.
        low: the column of the interval's lower end.
        high: that of its upper end.
        bounds: the range of the statistic.
        scale: the scale on which the interval was computed.
    """
    values = row[[name, low, high, "n"]].astype(float)
    interval: Interval = dict(zip(("mean", "ci_low", "ci_high", "seeds"), values, strict=True))
    few = interval["seeds"] < FEWEST
    note = f"{interval['seeds']:g} models: with fewer than {FEWEST}, two groups may look like one"
    interval |= {"decides": not few, "note": note if few else ""}
    return interval | {"bounds": bounds, "scale": scale}


def _held(interval: Interval, bounds: Bounds) -> Interval:
    """Return an interval over seeds with its range and the scale on which it was computed."""
    logit = np.isfinite(bounds).all() and "jackknife" in interval["method"]
    return {"scale": "logit" if logit else "plain", **interval, "bounds": bounds}


def _listed(names: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, names))) or "none"


def cluster_test(results: Results, experiment: str) -> Interval:
    """Return the test of whether convexity gaps split an experiment's models into clusters.

    `mean` is the p of its first condition, `seeds` the number of models, and `note` the condition
    that fails. `method` says if its size against a continuum exceeds 5 %.
    """
    test = results.several(experiment)
    interval = {"mean": test.p, "ci_low": np.nan, "ci_high": np.nan, "seeds": len(test.labels)}
    method = "gaps permuted, 2.5 standard deviations apart, no structure left (docs/statistics.md)"
    if test.decides and len(test.labels) < SURE and test.alike < 1:  # 1: separated by every gap
        method += f"; with fewer than {SURE} models, a continuum passes in up to 8 % of draws"
    return interval | {"method": method, "decides": test.decides, "note": test.note}


def clustered(results: Results, experiment: str) -> str:
    """Return that no clusters are shown, or others than the rows have; nothing otherwise."""
    test = results.several(experiment)
    if not test.decides:
        return f"no clusters are shown in {experiment}: {test.note}"
    models, _ = matrix(results.gaps(experiment), "convexity_gap")
    known = results.clusters(experiment)
    labels = np.array([known[model] for model in models])
    if adjusted_rand(test.labels, labels) < 1:
        return f"the {test.k} clusters shown in {experiment} are not the two of the paper's method"
    return ""


def learned(results: Results, options: Mapping[str, Any], margin: float = 0.1) -> str:
    """Return that models have not learned, if accuracy is not `margin` above the base rate."""
    rows = results.rows("probes")
    models = list(results.clusters(options["experiment"]))
    rows = rows.loc[(rows["recipe"] + "/seed" + rows["seed"].astype(str)).isin(models)]
    means = rows.loc[rows["slice"] == "test"].groupby("metric")["value"].mean()
    accuracy, base = means.get("accuracy", np.nan), means.get(BASE, np.nan)
    if not accuracy < base + margin:  # also where no base rate was measured
        return ""
    return (
        f"the task was not learned: the accuracy on test is {accuracy:.3f}, and that of always "
        f"predicting the most frequent class {base:.3f}"
    )


def varied(results: Results, options: Mapping[str, Any]) -> str:
    """Return that models do not vary on a diagnostic, if they vary by no more than its noise."""
    slice_, metric = options["slice"], options.get("metric", "accuracy")
    rows = results.probed(options["experiment"], slice_, metric)
    low, high, values = rows[["ci_low", "ci_high", "value"]].to_numpy(float).T
    noise = float((high - low).mean() / 2 / ndtri((1 + results.confidence) / 2))
    spread = float(values.std(ddof=1))
    if spread >= 2 * noise:
        return ""
    return (
        f"no variance of strategy: the {metric} on {slice_} has a standard deviation of "
        f"{spread:.3f} between models, and {noise:.3f} between samples of its examples"
    )
