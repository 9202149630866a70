"""Intervals over seeds: what would change had other seeds been trained.

Pairs of models share seeds, so they are not independent and the seed is what is left out, never
the pair. Few seeds give wide intervals; that is the point of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit


def jackknife(
    values: np.ndarray, seeds: Sequence[np.ndarray], confidence: float
) -> dict[str, float]:
    """Return the mean of values [n], its interval over seeds, and how many seeds it rests on.

    `seeds` holds one array [n] for one model a value, two for pairs. Every seed in turn is left
    out with all values it takes part in; the t interval has (seeds - 1) degrees of freedom. It is
    not a number where leaving one out leaves nothing.
    """
    return leave_out(lambda kept: _mean(values[kept]), seeds, confidence)


def contrast(
    values: np.ndarray, first: np.ndarray, seeds: Sequence[np.ndarray], confidence: float
) -> dict[str, float]:
    """Return the mean of values [n] where `first` [n] is true, less that where it is not.

    As `jackknife` otherwise. A seed is left out of both groups at once, so what it does to both
    cancels.
    """
    return leave_out(
        lambda kept: _mean(values[kept & first]) - _mean(values[kept & ~first]), seeds, confidence
    )


def ends(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Return recipe and seed of the models of each pair, and whether they share their start.

    `rows` has `model_a` and `model_b` (`recipe/seedK`). Two models of one seed start from the same
    weights: `init` is `shared` for them and `separate` otherwise.
    """
    found = {}
    for side in ("a", "b"):
        parts = rows[f"model_{side}"].str.extract(r"(?P<recipe>.+)/seed(?P<seed>\d+)")
        found |= {f"recipe_{side}": parts["recipe"], f"seed_{side}": parts["seed"].astype(int)}
    shared = found["seed_a"] == found["seed_b"]
    return {**found, "init": shared.map({True: "shared", False: "separate"})}


def summarise_pairs(
    rows: pd.DataFrame, keys: list[str], values: list[str], name: str, confidence: float
) -> pd.DataFrame:
    """Average each of `values` over pairs of models, by `keys`, recipes and shared initialisation.

    `rows` are as for `ends`. Which value a row of the result is about stands in its column `name`.
    """
    groups = [*keys[:1], "recipe_a", "recipe_b", "init", *keys[1:]]
    return average_pairs(rows.assign(**ends(rows)), groups, values, name, confidence)


def average_pairs(
    rows: pd.DataFrame, groups: list[str], values: list[str], name: str, confidence: float
) -> pd.DataFrame:
    """Average each of `values` over the pairs of each of `groups`.

    `rows` has `seed_a` and `seed_b`. Which value a row of the result is about stands in its column
    `name`.
    """
    summary = []
    for group, part in _grouped(rows, groups):
        seeds = [part["seed_a"].to_numpy(), part["seed_b"].to_numpy()]
        for value in values:
            interval = jackknife(part[value].to_numpy(), seeds, confidence)
            summary.append({**group, name: value, **interval, "pairs": len(part)})
    columns = [*groups, name, "mean", "ci_low", "ci_high", "seeds", "pairs"]
    return pd.DataFrame(summary, columns=columns)


def summarise_models(rows: pd.DataFrame, keys: list[str], confidence: float) -> pd.DataFrame:
    """Average `value` over the seeds (column `seed`) of each group of `keys`."""
    summary = [
        {
            **group,
            **jackknife(part["value"].to_numpy(), [part["seed"].to_numpy()], confidence),
        }
        for group, part in _grouped(rows, keys)
    ]
    return pd.DataFrame(summary)


def _grouped(rows: pd.DataFrame, keys: list[str]) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield the values of `keys` that a group of rows shares, and the group, in order of rows."""
    for shared, part in rows.groupby(keys, sort=False, dropna=False):
        values: Any = shared  # a tuple, as `keys` is a list
        yield dict(zip(keys, values, strict=True)), part


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan


def leave_out(
    statistic: Callable[[np.ndarray], float], seeds: Sequence[np.ndarray], confidence: float
) -> dict[str, float]:
    """Return the jackknife of `statistic`, a function of which values are kept: bool [n]."""
    nodes = np.unique(np.concatenate(seeds))
    count = len(nodes)
    half = np.nan
    if count > 1:
        kept = (np.all([side != node for side in seeds], axis=0) for node in nodes)
        without = np.array([statistic(keep) for keep in kept])
        error = np.sqrt((count - 1) / count * np.sum((without - without.mean()) ** 2))
        half = float(stdtrit(count - 1, (1 + confidence) / 2) * error)  # stats.t.ppf is slow
    mean = statistic(np.ones(len(seeds[0]), bool))
    return {"mean": mean, "ci_low": mean - half, "ci_high": mean + half, "seeds": count}
