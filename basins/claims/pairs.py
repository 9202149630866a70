"""Select rows of pairs of clustered models, and their diagnostics, for the claims of LCRGS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field

from basins.claims.results import DIFFERENCE, Interval, Results, clustered
from basins.statistics.cluster_rows import PAIR_TYPES

BETWEEN = PAIR_TYPES[1]
Factor = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def parted(results: Results, options: Mapping[str, Any]) -> str:
    """Return that no clusters are shown, if so: claims about clusters then do not apply."""
    if options.get("which") == "all":
        return ""
    named = (options.get(name) for name in ("clusters", "final", "experiment"))
    return clustered(results, str(next(filter(None, named))))


def correlation(results: Results, rows: pd.DataFrame, x: np.ndarray, y: np.ndarray) -> Interval:
    """Return r over values of pairs, with a jackknife interval over models."""

    def fisher(kept: np.ndarray) -> float:
        return float(np.arctanh(np.corrcoef(x[kept], y[kept])[0, 1]))

    interval = results.leave_out(fisher, rows)
    interval |= {name: np.tanh(interval[name]) for name in ("mean", "ci_low", "ci_high")}
    return interval | {"bounds": DIFFERENCE, "scale": "logit"}  # which Fisher's z is


def by_model(results: Results, experiment: str, slice_: str, metric: str) -> pd.Series:
    """Return the values of a diagnostic by model."""
    rows = results.probed(experiment, slice_, metric)
    names = rows["recipe"] + "/seed" + rows["seed"].astype(str)
    return pd.Series(rows["value"].to_numpy(float), index=names)


def typed_pairs(
    results: Results, experiment: str, eval_set: str, clusters: str | None = None, **ids: str
) -> pd.DataFrame:
    """Return the barriers of the loss with their `pair_type`, which is cross-fitted."""
    rows = results.pairs(experiment, eval_set, **ids)
    return results.typed(rows, clusters or experiment)


def on(rows: pd.DataFrame) -> str:
    """Return what the measured pairs have in common, in words."""
    if rows.empty:
        return "of no pairs"
    names = ["experiment", "path", "alignment", "eval_set"]
    experiment, path, alignment, eval_set = rows.iloc[0][names]
    return f"of the loss on {eval_set} ({experiment}, {path}, {alignment})"
