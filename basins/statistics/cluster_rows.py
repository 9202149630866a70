"""From matrices of gaps to tidy rows: clusters, how sure they are, and the curves between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from basins.landscape.barriers import BARRIERS
from basins.statistics import clusters
from basins.statistics.paths import on_common_points
from basins.statistics.seeds import average_pairs, ends, jackknife

DRAWS = 199
"""Permuted matrices, and noisy ones, that a number of clusters is held against."""

FEW = 6
"""Of fewer models, hardly any partition beats the level of a permutation test: no interval."""

PAIR_TYPES = ("within the larger cluster", "between clusters", "within a smaller cluster")


class Found(NamedTuple):
    """Clusters of models by one measure: a row a model, and a row a statistic."""

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
    """Return the clusters of models [N] by their gaps [N, N], and what speaks for them.

    Args:
        models: their names.
        gaps: a symmetric matrix.
        resampled: the same on resampled examples [R, N, N], where there is such noise.
        generator: draws the nulls, subsets and starts.
        k: how many clusters; the paper's code fixes two, None takes what `clusters.number` finds.
        confidence: of intervals. Numbers of clusters that it does not find unlikely are none.

    Returns:
        `models` has `model, cluster, score, stability, stability_examples`: cluster 0 is the
        largest, `score` is that of two clusters whatever k is, and stabilities are shares of other
        models that a model is together with, or apart from, in subsets of the models and resamples
        of the examples as here. `statistics` has `statistic, width, k, estimate, ci_low, ci_high,
        p, n` (docs/formats.md).
    """
    alpha, count = 1 - confidence, len(models)
    number = clusters.number(gaps, generator, alpha, DRAWS)
    labels = clusters.partition(gaps, k or number["chosen"].k, generator)
    scores = clusters.score(gaps, generator)
    by_models = clusters.over_models(gaps, labels, generator, DRAWS)
    rows = list(_numbers(gaps, number, generator, alpha))
    rows.append(_row("stability_models", labels, *_spread(by_models.rand, confidence)))
    found = {"model": models, "cluster": labels, "score": scores, "stability": by_models.models}
    found["stability_examples"] = np.full(count, np.nan)
    if resampled is not None:
        by_examples = clusters.over_examples(resampled, labels, generator)
        found["stability_examples"] = by_examples.models
        rows.append(_row("stability_examples", labels, *_spread(by_examples.rand, confidence)))
        null = clusters.noise(gaps, resampled)
        above = clusters.eigengap(gaps, null, alpha)
        rows.append(_row("noise", above.k, above.statistic, p=above.p) | {"width": clusters.NEAR})
    rows.append(_row("scaling", labels, clusters.scaling_agreement(gaps, scores)))
    if labels.any():
        apart = clusters.separation(gaps, labels, generator, DRAWS)
        rows.append(_row("separation", labels, apart.statistic, p=apart.p))
        rows += _smallest(labels, confidence)
        for width in clusters.WIDTHS:
            parts = clusters.partition(gaps, int(labels.max()) + 1, generator, width)
            null = clusters.permuted(gaps, DRAWS, generator)
            choice = clusters.eigengap(gaps, null, alpha, width)
            same = float(clusters.adjusted_rand(parts, labels))
            rows.append(_row("width", choice.k, same, p=choice.p) | {"width": width})
    rows += _triangles(gaps, generator, confidence)
    columns = ["statistic", "width", "k", "estimate", "ci_low", "ci_high", "p"]
    statistics = pd.DataFrame(rows).reindex(columns=columns).assign(n=count)
    return Found(pd.DataFrame(found), statistics)


def pair_types(rows: pd.DataFrame, cluster: Mapping[str, int]) -> pd.DataFrame:
    """Return rows of pairs of clustered models with their `pair_type`, from the larger cluster on.

    Curves between clusters that start in the smaller one are turned round: their t is 1 - t.
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
    """Average curves, and barriers, over the pairs of each type, with intervals over seeds."""
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


def _numbers(
    gaps: np.ndarray,
    number: Mapping[str, clusters.Choice],
    generator: np.random.Generator,
    alpha: float,
) -> Iterator[dict[str, Any]]:
    """Yield the numbers of clusters; the interval is from the least to the most without a model.

    A bootstrap of the models would often leave a small cluster out as a whole.
    """
    for name, width in (("eigengap", clusters.NEAR), ("gap", np.nan)):
        choice = number[name]
        yield _row(name, choice.k, choice.statistic, p=choice.p) | {"width": width}
    chosen, models = number["chosen"], np.arange(len(gaps))
    low = high = np.nan
    if len(models) > FEW:
        without = [models[models != model] for model in models]
        parts = (gaps[np.ix_(part, part)] for part in without)
        ks = [clusters.number(part, generator, alpha, DRAWS)["chosen"].k for part in parts]
        low, high = float(min(ks)), float(max(ks))
    yield _row("chosen", chosen.k, float(chosen.k), low, high, chosen.p) | {"width": np.nan}


def _smallest(labels: np.ndarray, confidence: float) -> Iterator[dict[str, Any]]:
    """Yield the share of models that are in the smallest cluster."""
    member = (labels == labels.max()).astype(float)
    found = jackknife(member, [np.arange(len(labels))], confidence)
    yield _row("smallest", labels, found["mean"], found["ci_low"], found["ci_high"])


def _triangles(
    gaps: np.ndarray, generator: np.random.Generator, confidence: float
) -> Iterator[dict[str, Any]]:
    """Yield how often and how far triangles are broken; `p` is of permuted gaps that break less."""
    triples = clusters.transitivity(gaps)
    nulls = [clusters.transitivity(null).excess for null in clusters.permuted(gaps, 99, generator)]
    for name, measure in (("triangle_share", np.sign), ("triangle_excess", np.asarray)):
        values = measure(triples.excess).astype(float)
        found = jackknife(values, triples.models, confidence)
        below = sum(measure(null).mean() <= values.mean() for null in nulls)
        p = float((1 + below) / (1 + len(nulls)))
        yield _row(name, 0, found["mean"], found["ci_low"], found["ci_high"], p)


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
    found = {"statistic": statistic, "width": clusters.WIDTH, "k": k, "estimate": estimate}
    return found | {"ci_low": low, "ci_high": high, "p": p}
