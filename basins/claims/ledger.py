"""From a paper's claims to entries of `claims.json`: what they may measure, and how they are held.

A claim is a function of `Results`, whose keyword-only arguments are its options in `params.yaml`
and whose docstring is its statement. It measures one thing, a mean over seeds with an interval
over seeds, and says on which side of `threshold` the paper puts it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field

from basins.errors import UserError
from basins.registry import split_options
from basins.statistics.seeds import contrast, ends, jackknife
from basins.statistics.verdict import Direction, holm, p_value, verdict

Threshold = Annotated[float, Field(allow_inf_nan=False)]
Margin = Annotated[float, Field(gt=0, allow_inf_nan=False)]
EvalSet = Literal["nc", "c", "rc", "ri"]
Init = Literal["shared", "separate"]


class Decision(NamedTuple):
    """One measurement, held against its threshold."""

    statistic: str
    interval: Mapping[str, float]
    threshold: float
    direction: Direction


class Measured(NamedTuple):
    """What was measured, in words, and its mean with an interval over seeds."""

    statistic: str
    interval: Mapping[str, float]

    def above(self, threshold: float) -> Decision:
        """Claim that the mean is above `threshold`."""
        return Decision(*self, threshold, "above")

    def below(self, threshold: float) -> Decision:
        """Claim that the mean is below `threshold`."""
        return Decision(*self, threshold, "below")

    def within(self, margin: float) -> Decision:
        """Claim that the mean is 0 but for `margin`, either way."""
        return Decision(*self, margin, "within")


@dataclass(frozen=True)
class Results:
    """A profile's tables, and the confidence of intervals that are taken from them.

    What is asked for and not there raises `UserError`, naming what there is.
    """

    tables: Mapping[str, pd.DataFrame]
    confidence: float

    def rows(self, table: str, **equal: object) -> pd.DataFrame:
        """Return the rows of `table` whose columns equal `equal`."""
        if table not in self.tables:
            raise UserError(f"no table {table!r}; there are: {_listed(self.tables)}")
        found = self.tables[table]
        for column, value in equal.items():
            kept = found.loc[found[column] == value]
            if kept.empty:
                there = _listed(found[column].unique())
                raise UserError(f"{table} has no {column} {value!r}; there are: {there}")
            found = kept
        return found

    def barrier(
        self,
        experiment: str,
        eval_set: EvalSet,
        init: Init,
        *,
        end: str | None = None,
        path: str = "linear",
        alignment: str = "none",
        batchnorm: str = "reset",
        metric: Literal["error", "loss"] = "error",
        definition: str = "barrier_linear",
    ) -> Measured:
        """Return a barrier between models of two recipes, averaged over their pairs.

        `end` is the recipe at t = 1, which may be left out where the experiment has one.
        """
        chosen = {"path": path, "alignment": alignment, "batchnorm": batchnorm}
        chosen |= {"eval_set": eval_set, "metric": metric, "definition": definition}
        ended = {} if end is None else {"recipe_b": end}
        rows = self.rows("summary/barriers", experiment=experiment, init=init, **ended, **chosen)
        rows = rows.loc[rows["recipe_a"] != rows["recipe_b"]]
        if len(rows) != 1:
            joined = _listed(rows["recipe_a"] + " to " + rows["recipe_b"])
            raise UserError(f"{experiment} must join one recipe to one other; it joins: {joined}")
        row = rows.iloc[0]
        statistic = (
            f"mean {definition} of the {metric} on {eval_set.upper()}, "
            f"{row.recipe_a} to {row.recipe_b} ({init} init, {path}, {alignment}, {batchnorm})"
        )
        return Measured(statistic, row[["mean", "ci_low", "ci_high", "seeds"]].to_dict())

    def accuracy(
        self, recipe: str, eval_set: EvalSet, less: tuple[str, EvalSet] | None = None
    ) -> Measured:
        """Return the accuracy of a recipe's models on a set, a share.

        `less`, another recipe and set, is taken off seed by seed.
        """
        values = self._accuracies(recipe, eval_set)
        statistic = f"mean accuracy on {eval_set.upper()} of {recipe}"
        if less:
            values = values - self._accuracies(*less)
            if values.isna().any():
                raise UserError(f"probes has other seeds of {recipe} than of {less[0]}")
            statistic += f", less that on {less[1].upper()} of {less[0]}"
        interval = jackknife(values.to_numpy(), [values.index.to_numpy()], self.confidence)
        return Measured(statistic, interval)

    def mean(self, statistic: str, rows: pd.DataFrame, column: str) -> Measured:
        """Return the mean of a column over rows of pairs; of no rows, a mean that decides nothing.

        `rows` has `model_a` and `model_b`, `recipe/seedK`.
        """
        interval = jackknife(rows[column].to_numpy(), _seeds(rows), self.confidence)
        return Measured(f"mean {statistic}", interval)

    def contrast(
        self, statistic: str, rows: pd.DataFrame, others: pd.DataFrame, column: str
    ) -> Measured:
        """Return the mean of a column over rows of pairs, less that over other rows of pairs."""
        both = pd.concat([rows, others])
        first = np.arange(len(both)) < len(rows)
        interval = contrast(both[column].to_numpy(), first, _seeds(both), self.confidence)
        return Measured(f"mean {statistic}", interval)

    def _accuracies(self, recipe: str, eval_set: EvalSet) -> pd.Series:
        rows = self.rows(
            "probes", recipe=recipe, diagnostic="counterfactual", metric="accuracy", slice=eval_set
        )
        return pd.Series(rows["value"].to_numpy(), index=rows["seed"])


class Paper(NamedTuple):
    """A paper's claims, and where in it they stand.

    `name` is its file's. `where` gives the place by what the names of `claims` begin with, up to
    the underscore.
    """

    name: str
    title: str
    where: Mapping[str, str]
    claims: Mapping[str, Callable[..., Decision]]


def entries(
    paper: Paper, results: Results, settings: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield the ledger's entry of each claim in `settings`: its function's name, with its options.

    Raises `UserError`, naming the claim, where its rows are missing.
    """
    for key, setting in settings.items():
        name, options = split_options(setting)
        try:
            claim = paper.claims[name]
            statistic, interval, threshold, direction = claim(results, **options)
        except UserError as error:
            raise UserError(f"claims.{paper.name}.{key}: {error}") from None
        low, high = float(interval["ci_low"]), float(interval["ci_high"])
        mean, seeds = float(interval["mean"]), int(interval["seeds"])
        held = (threshold, direction)
        yield {
            "id": f"{paper.name}/{key}",
            "paper": paper.title,
            "where": paper.where[name.partition("_")[0]],
            "statement": claim.__doc__,
            "statistic": statistic,
            "estimate": _known(mean),
            "ci_low": _known(low),
            "ci_high": _known(high),
            "threshold": threshold,
            "direction": direction,
            "n": seeds,
            "p": _known(p_value(mean, low, high, *held, results.confidence, seeds)),
            "verdict": verdict(low, high, *held),
        }


def together(ledger: Sequence[Mapping[str, Any]], confidence: float) -> list[dict[str, Any]]:
    """Return all claims of a ledger with the verdict that each keeps when all are held at once.

    `p_holm` is `p` adjusted for their number (Holm), and `verdict_holm` is `undecided` where that
    is not below 1 - confidence.
    """
    adjusted = holm([np.nan if claim["p"] is None else claim["p"] for claim in ledger])
    return [
        {
            **claim,
            "p_holm": _known(p),
            "verdict_holm": claim["verdict"] if p < 1 - confidence else "undecided",
        }
        for claim, p in zip(ledger, adjusted, strict=True)
    ]


def _known(value: float) -> float | None:
    """Return a number, or None, which JSON knows, for one that is not."""
    return float(value) if np.isfinite(value) else None


def _seeds(rows: pd.DataFrame) -> list[np.ndarray]:
    found = ends(rows)
    return [found["seed_a"].to_numpy(), found["seed_b"].to_numpy()]


def _listed(names: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, names))) or "none"
