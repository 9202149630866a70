"""Converts measurements to tidy rows (docs/formats.md)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from basins import seeds
from basins.checkpoints.examples import Task
from basins.data.images import Evaluation
from basins.merges.merged import summary
from basins.paths.engine import Curves
from basins.paths.points import Losses
from basins.statistics.examples import SCORES, estimate, resampling_weights
from basins.statistics.paths import barrier_rows, path_rows
from basins.statistics.strategies import CURVES, analyse

Pair = tuple[str, str]
CONFIDENCE = 0.95
RESAMPLES = 1000  # bootstrap resamples of the examples, for the stability of clusters


class Joins(NamedTuple):
    """The losses of every example along the paths between pairs of models, at positions `ts`.

    `ids` are the names of the path and the alignment.
    """

    ts: tuple[float, ...]
    ids: dict[str, str]
    losses: dict[Pair, Losses]


@contextmanager
def _few() -> Iterator[None]:
    """Silence numpy's warnings about statistics that are undefined for a single example."""
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        for said in ("Mean of empty slice", "Degrees of freedom"):
            warnings.filterwarnings("ignore", said, RuntimeWarning)
        yield


@_few()
def path_tables(experiment: str, joins: Joins, task: Task) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of all points, and those of all barriers."""
    paths: list[dict[str, Any]] = []
    barriers: list[dict[str, Any]] = []
    for (a, b), (curves, distance) in joins.losses.items():
        ids = {"experiment": experiment, "model_a": a, "model_b": b, **joins.ids}
        scored = {key: curve for key, curve in curves.items() if key[1] in task.metrics}
        classes = {key: curve for key, curve in curves.items() if key not in scored}
        paths += [ids | row for row in path_rows(joins.ts, classes, task.labels)]
        paths += [ids | row for row in _scored_rows(joins.ts, scored, task)]
        rows = [*barrier_rows(joins.ts, classes, CONFIDENCE)]
        rows += [r for r in barrier_rows(joins.ts, _losses(scored), CONFIDENCE) if _of_loss(r)]
        barriers += [ids | row | {"distance": distance} for row in rows]
    return pd.DataFrame(paths), pd.DataFrame(barriers)


def _scored_rows(ts: Sequence[float], curves: Curves, task: Task) -> Iterator[dict[str, Any]]:
    """Yield the mean loss, its standard error and metrics at every point, for other objectives."""
    for (batchnorm, eval_set), curve in curves.items():
        for t, evaluation in zip(ts, curve, strict=True):
            ids = {"batchnorm": batchnorm, "t": t, "eval_set": eval_set}
            yield {**ids, **_scores(evaluation, task.metrics[eval_set])}


def _scores(evaluation: Evaluation, names: Sequence[str]) -> dict[str, Any]:
    losses, metrics = evaluation
    count = len(losses)
    error = losses.std(ddof=1, dtype=np.float64) / count**0.5 if count > 1 else np.nan
    values = {"loss": losses.mean(dtype=np.float64), "loss_se": error}
    values |= dict(zip(names, metrics.mean(0, dtype=np.float64), strict=True))
    return {"n": count, **(values if evaluation.defined else dict.fromkeys(values, np.nan))}


def _losses(curves: Curves) -> Curves:
    """Return curves with losses only, for objectives without a notion of correctness."""
    return {
        key: [Evaluation(e.losses, np.zeros(len(e.losses), bool)) for e in curve]
        for key, curve in curves.items()
    }


def _of_loss(row: Mapping[str, Any]) -> bool:
    return row["metric"] == "loss"


def probe_table(measured: Mapping[str, Curves], task: Task) -> pd.DataFrame:
    """Return the accuracy and loss (nats) of every model on every set.

    With two classes also F1 and Matthews's correlation; other objectives have their own metrics.
    """
    each = ((m, name, es[0]) for m, curves in measured.items() for (_, name), es in curves.items())
    return pd.DataFrame([row for one in each for row in _probes(*one, task)])


@_few()
def cluster_tables(
    joins: Joins,
    paths: pd.DataFrame,
    barriers: pd.DataFrame,
    probes: pd.DataFrame,
    chosen: Mapping[str, str],
    k: int | None,
) -> dict[str, pd.DataFrame]:
    """Return clusters of the models by their convexity gaps, their number, and associations.

    The clusters are compared with accuracies on sets other than that of the gaps.

    Args:
        joins: the losses of every example along the paths.
        paths: rows for the points of all pairs.
        barriers: rows for all pairs.
        probes: rows for the models on every set.
        chosen: the `path`, `alignment`, `batchnorm` and `eval_set` of the gaps.
        k: the number of clusters; None means what `structure.several` shows.

    Returns:
        The tables `clusters`, `cluster_choice` and `association`, by name.
    """
    stream, ts, resampled = seeds.generator("bootstrap", "checkpoints"), np.array(joins.ts), {}
    draw = cache(lambda count: resampling_weights(count, RESAMPLES, stream))  # same for all pairs
    for pair, (curves, _) in joins.losses.items():
        losses = np.stack([e.losses for e in curves[chosen["batchnorm"], chosen["eval_set"]]])
        drawn = draw(losses.shape[1]) @ losses.T
        resampled[pair] = {name: measure(ts, drawn) for name, measure in CURVES.items()}
    measured = probes.drop_duplicates(["slice", "metric"]).groupby("slice", sort=False)["metric"]
    others = [
        str(name) if "accuracy" in set(metrics) else f"{name}:loss"
        for name, metrics in measured
        if name != chosen["eval_set"]
    ]
    if "accuracy" not in paths:  # other objectives use the loss instead
        paths = paths.assign(accuracy=-paths["loss"])
    found = analyse(
        "checkpoints",
        paths,
        barriers,
        probes,
        resampled,
        chosen=chosen,
        slices=others,
        k=k,
        confidence=CONFIDENCE,
    )
    return {name: found[name] for name in ("clusters", "cluster_choice", "association")}


@_few()
def merge_table(
    technique: str, alignment: str, made: Curves, sources: Mapping[str, Curves], task: Task
) -> pd.DataFrame:
    """Return the rows of a merged network, followed by those of its unaligned sources."""
    names = {"technique": technique, "alignment": alignment}
    rows = [
        _merged({**names, "batchnorm": mode}, " + ".join(sources), name, evaluations[0], task)
        for (mode, name), evaluations in made.items()
    ]
    names = {"technique": "source", "alignment": "none", "batchnorm": "interpolate"}
    for model, curves in sources.items():
        rows += [_merged(names, model, name, es[0], task) for (_, name), es in curves.items()]
    return pd.DataFrame(rows)


def _merged(
    made: Mapping[str, str], sources: str, eval_set: str, evaluation: Evaluation, task: Task
) -> dict[str, Any]:
    ids = {"sources": sources, "set": 0, "members": 1, "eval_set": eval_set}
    names = task.metrics.get(eval_set)
    found = summary(evaluation) if names is None else _scores(evaluation, names)
    return {"merge": "checkpoints", **made, **ids, **found}


def _probes(model: str, eval_set: str, found: Evaluation, task: Task) -> Iterator[dict[str, Any]]:
    losses, correct = found
    values = {"accuracy": correct, "loss": losses}
    if eval_set in task.metrics:
        values = {"loss": losses, **dict(zip(task.metrics[eval_set], correct.T, strict=True))}
    true = task.labels.get(eval_set)
    if true is not None:
        values |= dict.fromkeys(SCORES, np.stack([true == correct, true], axis=1))
    recipe, _, seed = model.rpartition("/seed")
    for metric, each in values.items():
        whole = found.defined  # otherwise all values of the set are NaN
        value, low, high = estimate(metric, each, CONFIDENCE) if whole else (np.nan,) * 3
        yield {
            "recipe": recipe,
            "seed": int(seed),
            "diagnostic": "sets",
            "slice": eval_set,
            "metric": metric,
            "value": value,
            "n": len(each),
            "ci_low": low,
            "ci_high": high,
        }
