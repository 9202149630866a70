"""From an experiment to the tidy rows of its curves, on the requested points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from basins.data.images import Evaluation
from basins.landscape.barriers import barrier_linear
from basins.paths.adaptive import refine
from basins.paths.experiment import Experiment, Grid, Joined
from basins.paths.pairs import grid
from basins.statistics.paths import barrier_rows, mean_losses, path_rows

TOGETHER = 500  # curves per batch: dictionaries for the rows of all would fill the memory


def evaluated(experiment: Experiment, points: int | Mapping[str, Any]) -> dict[Joined, Grid]:
    """Evaluate every curve of an experiment and return its points, by curve.

    `points` is a number of equally spaced points, or the options of `adaptive.refine`, which
    doubles a grid until the `barrier_linear` of its curve no longer changes.
    """
    if isinstance(points, int):
        grids = dict.fromkeys(experiment.joined, grid(points))
        experiment.evaluate(grids)
        return grids

    def means(grids: Mapping[Joined, Grid]) -> dict[Joined, np.ndarray]:
        experiment.evaluate(grids)
        return {key: mean_losses(experiment.losses(key, ts).curves) for key, ts in grids.items()}

    return refine(experiment.joined, means, barrier_linear, **points)


def tables(
    experiment: Experiment, grids: Mapping[Joined, Grid], confidence: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of all points and of all barriers of evaluated curves."""
    paths: list[pd.DataFrame] = []
    barriers: list[pd.DataFrame] = []
    binary, every = experiment.binary(), list(grids.items())
    for start in range(0, len(every), TOGETHER):
        points: list[dict[str, Any]] = []
        pairs: list[dict[str, Any]] = []
        for joined, ts in every[start : start + TOGETHER]:
            ids, (curves, distance) = joined.ids(), experiment.losses(joined, ts)
            points += [ids | row for row in path_rows(ts, curves, binary)]
            rows = barrier_rows(ts, curves, confidence)
            pairs += [ids | row | {"distance": distance} for row in rows]
        paths.append(pd.DataFrame(points))
        barriers.append(pd.DataFrame(pairs))
    return pd.concat(paths, ignore_index=True), pd.concat(barriers, ignore_index=True)


def samples(
    experiment: Experiment, grids: Mapping[Joined, Grid], examples: pd.DataFrame
) -> pd.DataFrame:
    """Return which of some examples are classified correctly along every curve.

    `examples` are rows with an `eval_set` and an index in it (`example`); other sets get no rows.
    `outcomes` has a word for each point, with `+` (correct) or `-` (wrong) for each example.
    """
    indices = {of: rows["example"].to_numpy() for of, rows in examples.groupby("eval_set")}

    def outcomes(points: Sequence[Evaluation], shown: np.ndarray) -> str:
        return " ".join("".join(np.where(point.correct[shown], "+", "-")) for point in points)

    rows = [
        joined.ids()
        | {"batchnorm": mode, "eval_set": name, "outcomes": outcomes(points, indices[name])}
        for joined, ts in grids.items()
        for (mode, name), points in experiment.losses(joined, ts).curves.items()
        if name in indices
    ]
    return pd.DataFrame(rows, columns=[*Joined._fields, "batchnorm", "eval_set", "outcomes"])
