"""From the per-example losses along a path to tidy rows: curves, barriers and their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from basins.landscape.barriers import BARRIERS, excess
from basins.statistics.examples import gap_split, highest_interval, highest_split, scores

if TYPE_CHECKING:  # so that rows can be read without torch
    from basins.landscape.plane import Plane
    from basins.paths.engine import Curves


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
    bool [n], of the sets whose rows also get `f1` and `mcc`. If a loss is not finite, all values of
    the point are NaN.
    """
    for (batchnorm, eval_set), evaluations in curves.items():
        for t, evaluation in zip(ts, evaluations, strict=True):
            losses, correct = evaluation
            count, true = len(losses), binary.get(eval_set)
            agreement = {} if true is None else scores(true == correct, true)
            values = {
                "loss": losses.mean(dtype=np.float64),
                "loss_se": losses.std(ddof=1, dtype=np.float64) / count**0.5,
                "accuracy": correct.mean(),
                **agreement,
            }
            yield {
                "batchnorm": batchnorm,
                "t": t,
                "eval_set": eval_set,
                "n": count,
                **(values if evaluation.defined else dict.fromkeys(values, np.nan)),
            }


PLANE = ("u", "v", "x", "y", "eval_set", "n", "loss", "loss_se", "accuracy", "model")
"""The columns of a plane's rows, in their order."""


def plane_rows(plane: Plane, models: Sequence[str]) -> pd.DataFrame:
    """Return a row for every point of a plane and set, with the name of a model that lies there."""
    corners = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    there: dict[tuple[float, ...], str] = dict(zip(corners, models, strict=False))
    places = pd.DataFrame(
        {"u": point[1], "v": point[2], "x": x, "y": y, "model": there.get(point)}
        for point, (x, y) in zip(plane.points, plane.positions, strict=True)
    )
    rows = pd.DataFrame(path_rows(range(len(places)), plane.curves))
    return rows.join(places, on="t").reindex(columns=[*PLANE])


def barrier_rows(
    ts: Sequence[float], curves: Curves, confidence: float
) -> Iterator[dict[str, Any]]:
    """Yield the barriers of loss (nats) and of error (a share) for every set.

    `barrier_split` and `gap_split` are `barrier_linear` and the convexity gap without the bias of a
    maximum over noisy points. `ci_low` and `ci_high` are the interval of `barrier_linear` over
    examples, which all points of the path share.
    """
    grid = np.asarray(ts)
    for (batchnorm, eval_set), evaluations in curves.items():
        errors = [np.where(e.defined, ~e.correct, np.nan) for e in evaluations]
        for metric, values in (
            ("loss", np.stack([e.losses for e in evaluations])),
            ("error", np.stack(errors).astype(np.float32)),
        ):
            curve = values.mean(axis=1, dtype=np.float64)
            over_chord = excess(grid, values.T)
            ends = highest_interval(over_chord, confidence)
            yield {
                "batchnorm": batchnorm,
                "eval_set": eval_set,
                "metric": metric,
                **{name: float(measure(grid, curve)) for name, measure in BARRIERS.items()},
                "barrier_split": highest_split(over_chord),
                "gap_split": gap_split(grid, values.T),
                # A barrier is never negative: the excess is 0 at both ends of the path.
                **dict(zip(("ci_low", "ci_high"), np.maximum(ends, 0.0), strict=True)),
            }


def on_common_points(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return the rows at those `t` that all pairs of a group of `keys` have.

    Pairs with refined grids have more points, where a mean over only some pairs would jump.
    """
    having = rows.groupby([*keys, "t"])["t"].transform("size")
    return rows.loc[having == having.groupby([rows[key] for key in keys]).transform("max")]
