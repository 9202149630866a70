"""From matrices of gaps to tidy rows: clusters, their stability, and the curves between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from basins.errors import UserError
from basins.landscape.barriers import BARRIERS
from basins.seeds import generator as stream
from basins.statistics import clusters, structure
from basins.statistics.paths import on_common_points
from basins.statistics.seeds import average_pairs, ends, jackknife

DRAWS = 199
"""Number of permuted matrices that clusters are compared with, and of subsets of models."""

WITHIN = "within a cluster"
PAIR_TYPES = ("within the larger cluster", "between clusters", "within a smaller cluster")


class Found(NamedTuple):
    """Clusters of models by one measure: a row for each model, and for each statistic."""

    models: pd.DataFrame
    statistics: pd.DataFrame


def find(
    models: list[str],
    gaps: np.ndarray,
    resampled: np.ndarray | None,
    generator: np.random.Generator,
    *,
    k: int | None = 2,
    confidence: float = 0.95,
) -> Found:
    """Return the clusters of models [N] by their gaps [N, N], and the evidence for them.

    Args:
        models: their names.
        gaps: a symmetric matrix.
        resampled: the same on resampled examples [R, N, N], if available.
        generator: draws null matrices, subsets and starts.
        k: the number of clusters; the paper's code fixes two, None takes that of
            `structure.several`.
        confidence: of intervals, and of the test for clusters.

    Returns:
        `models` has `model, cluster, score, stability, stability_examples`: cluster 0 is the
        largest, `score` is that of two clusters whatever k is, and stabilities are the shares of
        other models with which a model is together, or apart, as here, in subsets of the models and
        resamples of the examples. `statistics` has `statistic, width, k, estimate, ci_low, ci_high,
        p, n` (docs/formats.md).
    """
    test = structure.several(gaps, generator, 1 - confidence, DRAWS)
    labels = clusters.partition(gaps, k, generator) if k else shown(test)
    scores = clusters.score(gaps, generator)
    by_models = clusters.over_models(gaps, labels, generator, DRAWS)
    rows = [
        _row("chosen", test.k, float(test.k), p=test.p),
        _row("apart", test.labels, test.apart),
        _row("ratio", test.labels, test.ratio),
        _row("alike", test.labels, test.alike),
        _row("stability_models", labels, *_spread(by_models.rand, confidence)),
    ]
    table = {"model": models, "cluster": labels, "score": scores, "stability": by_models.models}
    table["stability_examples"] = np.full(len(models), np.nan)
    if resampled is not None:
        by_examples = clusters.over_examples(resampled, labels, generator)
        table["stability_examples"] = by_examples.models
        rows.append(_row("stability_examples", labels, *_spread(by_examples.rand, confidence)))
    rows.append(_row("scaling", labels, clusters.scaling_agreement(gaps, scores)))
    if labels.any():
        rows.append(_row("separation", labels, float(clusters.separation(gaps, labels))))
        rows += _smallest(labels, confidence)
        for width in clusters.WIDTHS:
            parts = clusters.partition(gaps, int(labels.max()) + 1, generator, width)
            same = float(clusters.adjusted_rand(parts, labels))
            rows.append(_row("width", labels, same) | {"width": width})
    rows += _triangles(gaps, generator, confidence)
    columns = ["statistic", "width", "k", "estimate", "ci_low", "ci_high", "p"]
    statistics = pd.DataFrame(rows).reindex(columns=columns).assign(n=len(models))
    return Found(pd.DataFrame(table), statistics)


def several(
    rows: pd.DataFrame,
    measure: str = "convexity_gap",
    *,
    confidence: float = 0.95,
    draws: int = 9999,
) -> structure.Several:
    """Return whether models fall into clusters, from rows of all their pairs along one path.

    Raises `UserError` if a pair is missing or occurs twice.
    """
    _, gaps = clusters.matrix(rows, measure)
    return structure.several(gaps, stream("several", measure), 1 - confidence, draws)


def between(
    rows: pd.DataFrame,
    column: str,
    clustered: pd.DataFrame,
    measure: str = "convexity_gap",
    *,
    k: int = 2,
    confidence: float = 0.95,
    draws: int = 9999,
) -> dict[str, Any]:
    """Return by how much a column of rows of pairs is higher between clusters than within.

    See `structure.between`, in which the clusters are part of the estimate.

    Args:
        rows: pairs with `model_a`, `model_b` and `column`. Pairs without a row count as unknown.
            Models are identified with those of `clustered` by their seeds, so that a run can be
            compared with its own earlier checkpoint.
        column: the values that are compared.
        clustered: the rows of all pairs that clusters come from, of one recipe.
        measure: the column of `clustered` that clusters come from.
        k: the number of clusters.
        confidence: the confidence of the interval.
        draws: the number of permutations over models for p.

    Raises:
        UserError: `clustered` has models of several recipes with the same seed, or lacks pairs
            (`clusters.matrix`).
    """
    models, gaps = clusters.matrix(clustered, measure)
    place = {model.rpartition("/")[2]: index for index, model in enumerate(models)}
    values = np.full(gaps.shape, np.nan)
    if len(place) < len(models):
        raise UserError("clusters: models of several recipes have one seed; choose one recipe")
    for a, b, value in zip(rows["model_a"], rows["model_b"], rows[column], strict=True):
        pair = [place.get(model.rpartition("/")[2]) for model in (a, b)]
        if None not in pair:
            values[*pair] = values[*pair[::-1]] = value
    return structure.between(values, gaps, k, stream("between", column), confidence, draws)


def typed(
    rows: pd.DataFrame, clustered: pd.DataFrame, measure: str = "convexity_gap", *, k: int = 2
) -> pd.DataFrame:
    """Return rows of pairs with their `pair_type`: within or between `k` clusters, cross-fitted.

    Clusters come from the rows `clustered` of all pairs; for each pair, its own gap is not used
    (`structure.cross_fitted`). Pairs of other models are left out.
    """
    models, gaps = clusters.matrix(clustered, measure)
    place = {model: index for index, model in enumerate(models)}
    rows = rows.loc[rows["model_a"].isin(place) & rows["model_b"].isin(place)].copy()
    apart = structure.cross_fitted(gaps, k, stream("cross-fitted", measure))
    ends = (rows[name].map(place.__getitem__).to_numpy(int) for name in ("model_a", "model_b"))
    rows["pair_type"] = np.where(apart[*ends], PAIR_TYPES[1], WITHIN)
    return rows


def shown(found: structure.Several) -> np.ndarray:
    """Return the clusters that are shown, or a single one of all models [N]."""
    return found.labels if found.decides else np.zeros(len(found.labels), int)


def pair_types(rows: pd.DataFrame, cluster: Mapping[str, int]) -> pd.DataFrame:
    """Return rows of pairs of clustered models with their `pair_type`.

    Curves between clusters are oriented to start in the larger one: t becomes 1 - t if necessary.
    """
    start, end = (rows[f"model_{side}"].map(cluster.get) for side in ("a", "b"))
    rows = rows.loc[start.notna() & end.notna()].copy()
    start, end = start[rows.index], end[rows.index]
    within = np.where((start == 0) & (end == 0), PAIR_TYPES[0], PAIR_TYPES[2])
    rows["pair_type"] = np.where(start == end, within, PAIR_TYPES[1])
    if "t" in rows:
        turned = start > end
        rows["t"] = rows["t"].where(~turned, 1 - rows["t"]).round(7)
        flipped = rows.loc[turned, ["model_b", "model_a"]].to_numpy()
        rows.loc[turned, ["model_a", "model_b"]] = flipped
    return rows


def summarise_types(
    paths: pd.DataFrame, barriers: pd.DataFrame, cluster: Mapping[str, int], confidence: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Average curves and barriers over the pairs of each type, with intervals over seeds."""
    join = ["experiment", "path", "alignment", "batchnorm", "eval_set"]
    curves = pair_types(paths, cluster)
    curves = on_common_points(curves.assign(**ends(curves)), [*join, "pair_type"])
    typed = pair_types(barriers, cluster)
    groups = [*join, "pair_type"]
    values = ["loss", "accuracy"]
    of_curves = average_pairs(curves, [*groups, "t"], values, "metric", confidence)
    typed = typed.assign(**ends(typed))
    of_barriers = average_pairs(
        typed, [*groups, "metric"], list(BARRIERS), "definition", confidence
    )
    return of_curves, of_barriers


def _smallest(labels: np.ndarray, confidence: float) -> Iterator[dict[str, Any]]:
    """Yield the share of models that are in the smallest cluster."""
    member = (labels == labels.max()).astype(float)
    share = jackknife(member, [np.arange(len(labels))], confidence, (0, 1), outcomes=True)
    yield _row("smallest", labels, share["mean"], share["ci_low"], share["ci_high"])


def _triangles(
    gaps: np.ndarray, generator: np.random.Generator, confidence: float
) -> Iterator[dict[str, Any]]:
    """Yield how often and by how much gaps violate the triangle inequality.

    `p` is for permuted gaps that violate it no more than these.
    """
    triples = clusters.transitivity(gaps)
    nulls = [clusters.transitivity(null).excess for null in clusters.permuted(gaps, 99, generator)]
    for name, measure in (("triangle_share", np.sign), ("triangle_excess", np.asarray)):
        values = measure(triples.excess).astype(float)
        mean = jackknife(values, triples.models, confidence)
        below = sum(measure(null).mean() <= values.mean() for null in nulls)
        p = float((1 + below) / (1 + len(nulls)))
        yield _row(name, 0, mean["mean"], mean["ci_low"], mean["ci_high"], p)


def _spread(values: np.ndarray, confidence: float) -> tuple[float, float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(values.mean()), float(low), float(high)


def _row(
    statistic: str,
    k: int | np.ndarray,
    estimate: float,
    low: float = np.nan,
    high: float = np.nan,
    p: float = np.nan,
) -> dict[str, Any]:
    """Return a row; `k` is a number of clusters, or the clusters themselves."""
    k = int(k.max()) + 1 if isinstance(k, np.ndarray) else k
    row = {"statistic": statistic, "width": clusters.WIDTH, "k": k, "estimate": estimate}
    return row | {"ci_low": low, "ci_high": high, "p": p}
