"""Intervals over seeds: what would change had other seeds been trained.

Pairs of models share seeds, so they are not independent and the seed is what is left out, never
the pair. Few seeds give wide intervals; that is the point of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats


def jackknife(
    values: np.ndarray, seeds: Sequence[np.ndarray], confidence: float
) -> dict[str, float]:
    """Return the mean of values [n], its interval over seeds, and how many seeds it rests on.

    `seeds` holds one array [n] for one model a value, two for pairs. Every seed in turn is left
    out with all values it takes part in; the t interval has (seeds - 1) degrees of freedom. It is
    not a number where leaving one out leaves nothing.
    """
    nodes = np.unique(np.concatenate(seeds))
    count = len(nodes)
    kept = [np.all([side != node for side in seeds], axis=0) for node in nodes]
    without = np.array([values[keep].mean() if keep.any() else np.nan for keep in kept])
    deviations = without - without.mean()
    half = np.nan
    if count > 1:
        error = np.sqrt((count - 1) / count * np.sum(deviations**2))
        half = float(stats.t.ppf((1 + confidence) / 2, count - 1) * error)
    mean = float(values.mean())
    return {"mean": mean, "ci_low": mean - half, "ci_high": mean + half, "seeds": count}


def summarise_pairs(
    rows: pd.DataFrame, keys: list[str], values: list[str], name: str, confidence: float
) -> pd.DataFrame:
    """Average each of `values` over pairs of models, by `keys`, recipes and shared initialisation.

    `rows` has `model_a` and `model_b` (`recipe/seedK`). Two models of one seed start from the same
    weights: `init` is `shared` for them and `separate` otherwise. Which value a row of the result
    is about stands in its column `name`.
    """
    ends = {}
    for side in ("a", "b"):
        parts = rows[f"model_{side}"].str.extract(r"(?P<recipe>.+)/seed(?P<seed>\d+)")
        ends |= {f"recipe_{side}": parts["recipe"], f"seed_{side}": parts["seed"].astype(int)}
    shared = np.where(ends["seed_a"] == ends["seed_b"], "shared", "separate")
    named = rows.assign(**ends, init=shared)
    groups = [*keys[:1], "recipe_a", "recipe_b", "init", *keys[1:]]
    summary: list[dict[str, Any]] = []
    for _, part in named.groupby(groups, sort=False, dropna=False):
        seeds = [part["seed_a"].to_numpy(), part["seed_b"].to_numpy()]
        for value in values:
            interval = jackknife(part[value].to_numpy(), seeds, confidence)
            key = part.iloc[0][groups].to_dict()
            summary.append({**key, name: value, **interval, "pairs": len(part)})
    return pd.DataFrame(summary)


def summarise_models(rows: pd.DataFrame, keys: list[str], confidence: float) -> pd.DataFrame:
    """Average `value` over the seeds (column `seed`) of each group of `keys`."""
    summary = [
        {
            **part.iloc[0][keys].to_dict(),
            **jackknife(part["value"].to_numpy(), [part["seed"].to_numpy()], confidence),
        }
        for _, part in rows.groupby(keys, sort=False)
    ]
    return pd.DataFrame(summary)
