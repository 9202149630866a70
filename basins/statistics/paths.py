"""From the per-example losses along a path to tidy rows: curves, barriers and their intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from basins.landscape.barriers import BARRIERS, barrier_linear
from basins.paths.engine import Curves
from basins.statistics.examples import basic_interval, scores


def mean_losses(curves: Curves) -> np.ndarray:
    """Return the mean loss (nats) and error (a share) of every curve, [curves, T]."""
    values = [[e.losses for e in evaluations] for evaluations in curves.values()]
    values += [[~e.correct for e in evaluations] for evaluations in curves.values()]
    return np.array([[v.mean(dtype=np.float64) for v in curve] for curve in values])


def path_rows(
    ts: Sequence[float],
    curves: Curves,
    binary: Mapping[str, np.ndarray | None] = MappingProxyType({}),
) -> Iterator[dict[str, Any]]:
    """Yield mean loss (nats), its standard error and accuracy at every point and set.

    `curves` holds, by (batchnorm, set), one evaluation for each of `ts`. `binary` holds the labels,
    bool [n], of the sets for which rows are to have `f1` and `mcc`, too.
    """
    for (batchnorm, eval_set), evaluations in curves.items():
        for t, (losses, correct) in zip(ts, evaluations, strict=True):
            count, true = len(losses), binary.get(eval_set)
            told = {} if true is None else scores(true == correct, true)
            yield {
                "batchnorm": batchnorm,
                "t": t,
                "eval_set": eval_set,
                "n": count,
                "loss": losses.mean(dtype=np.float64),
                "loss_se": losses.std(ddof=1, dtype=np.float64) / count**0.5,
                "accuracy": correct.mean(),
                **told,
            }


def barrier_rows(
    ts: Sequence[float],
    curves: Curves,
    draw: Callable[[int], np.ndarray],
    confidence: float,
) -> Iterator[dict[str, Any]]:
    """Yield the five barriers of loss (nats) and of error (a share) for every set.

    `ci_low` and `ci_high` bound `barrier_linear` over examples, resampled jointly along the path by
    the weights [resamples, n] that `draw` returns for n examples.
    """
    grid = np.asarray(ts)
    named = [
        (batchnorm, eval_set, metric, values)
        for (batchnorm, eval_set), evaluations in curves.items()
        for metric, values in (
            ("loss", np.stack([e.losses for e in evaluations])),
            ("error", np.stack([~e.correct for e in evaluations]).astype(np.float32)),
        )
    ]
    # One product for all curves on as many examples: the weights are its largest factor by far.
    drawn = {
        count: draw(count) @ np.concatenate([v for *_, v in named if v.shape[1] == count]).T
        for count in dict.fromkeys(values.shape[1] for *_, values in named)
    }
    taken = dict.fromkeys(drawn, 0)
    for batchnorm, eval_set, metric, values in named:
        count, curve = values.shape[1], values.mean(axis=1, dtype=np.float64)
        resampled = drawn[count][:, taken[count] : taken[count] + len(grid)]
        taken[count] += len(grid)
        estimates = {name: float(measure(grid, curve)) for name, measure in BARRIERS.items()}
        barriers = barrier_linear(grid, resampled)
        low, high = basic_interval(estimates["barrier_linear"], barriers, confidence)
        yield {
            "batchnorm": batchnorm,
            "eval_set": eval_set,
            "metric": metric,
            **estimates,
            "ci_low": low,
            "ci_high": high,
        }


def on_common_points(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return the rows at those `t` that all pairs of a group of `keys` have.

    Pairs whose grids were refined have more; a mean over only some pairs would jump there.
    """
    having = rows.groupby([*keys, "t"])["t"].transform("size")
    return rows.loc[having == having.groupby([rows[key] for key in keys]).transform("max")]
