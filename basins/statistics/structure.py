"""Are there clusters of models, how many, and what differs between them (docs/statistics.md)?

Gaps are as in `clusters`. A model that is near to or far from all others does not make a cluster:
such effects of single models are first removed from the logarithms of the gaps. The residuals are
compared with permutations and with a continuum.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit
from scipy.stats import rankdata

from basins.statistics.clusters import (
    adjusted_rand,
    k_means,
    partition,
    permuted,
    scale,
    square,
    upper,
)
from basins.statistics.verdict import unseen

FEWEST = 12
"""With fewer models, two clusters cannot be told from a continuum (docs/statistics.md)."""


SURE = 16
"""With fewer models, a continuum passes in up to 8 % of draws; from here on, in up to 3 %."""


EACH = 6
"""Models required for each cluster that is tried."""


APART = 2.5
"""By how many standard deviations log gaps between clusters must exceed those within."""


PARTED = 1.25
"""If all gaps between are this many times the largest gap within, no test is needed."""


LEAST = 3
"""Smallest size of a cluster: fewer models may be outliers."""


ALIKE = 0.05
"""Level of the test that clusters leave no structure in the gaps."""


TINY = np.finfo(float).tiny

FLOOR = 0.05
"""Added to gaps, over their scale, before logarithms: gaps may be exactly 0."""


class Several(NamedTuple):
    """Whether models fall into clusters.

    `k` is their number; 1 if clusters are not shown, which does not mean that there are none.
    `labels` [N] are these clusters, or the best two. `p` is for the null of gaps with no structure
    except effects of single models; `apart` is by how many standard deviations log gaps between
    clusters exceed those within; `ratio` is the smallest ratio, over clusters, of gaps to others to
    gaps within (geometric means); `alike` is the p for no structure except these clusters, if they
    are far enough apart. `decides` is whether clusters are shown, and `note` why not.
    """

    k: int
    labels: np.ndarray
    p: float
    apart: float
    ratio: float
    alike: float
    decides: bool
    note: str


def without_models(values: np.ndarray) -> np.ndarray:
    """Return the residuals of values of pairs [..., N, N] after a mean and effects of models.

    By least squares over the entries off the diagonal; the diagonal of the result is 0.
    """
    count = values.shape[-1]
    off = ~np.eye(count, dtype=bool)
    values = np.where(off, values, 0)
    rows = values.sum(-1, keepdims=True)
    mean = rows.sum(-2, keepdims=True) / (count * (count - 1))
    effects = (rows - (count - 1) * mean) / (count - 2)
    return np.where(off, values - mean - effects - effects.swapaxes(-1, -2), 0)


def several(
    gaps: np.ndarray, generator: np.random.Generator, alpha: float, draws: int = 999
) -> Several:
    """Return whether the models of a matrix [N, N] fall into clusters, and how many.

    Models are clustered by the logarithms of their gaps, less an effect of every single model (a
    bad seed is far from all others). The result is the smallest k, up to N / `EACH`, for which

    1. the clusters explain more than in `draws` matrices whose entries are permuted over the pairs
       and clustered again, at the level `alpha` divided by the number of k that are tried;
    2. log gaps between clusters exceed those within by `APART` standard deviations (Ashman's D
       requires 2 for two groups), and in every cluster gaps to others exceed those within;
    3. the residuals are noise by their largest eigenvalue, between clusters and within them, at
       the level `ALIKE`: a continuum would leave structure;
    4. each cluster has at least `LEAST` models: fewer may be outliers.

    If every gap between clusters is at least `PARTED` times any gap within, 2 and 3 are met. With
    fewer than `FEWEST` models nothing is decided. For power see docs/statistics.md.
    """
    tries = range(2, max(2, len(gaps) // EACH) + 1)
    logs = np.log(gaps / scale(gaps) + FLOOR)
    rest = without_models(logs)
    nulls = without_models(permuted(rest, draws, generator))
    shown: Several | None = None
    for k in tries:
        labels = _split(rest, k, generator)
        apart, ratio = _apart(rest, labels), _least_ratio(logs, labels)
        parted = ratio >= 1 and _parted(logs, labels)
        far = parted or (apart >= APART and ratio >= 1)
        if shown and not far:
            continue  # the rest is slow
        theirs = _explained(nulls, _split(nulls, k, generator))
        above = (theirs >= _explained(rest, labels) - 1e-12).sum()
        p = min(1.0, len(tries) * float(1 + above) / (1 + draws))
        alike = 1.0 if parted else _alike(rest, labels, draws, generator) if far else np.nan
        how = Several(k, labels, p, apart, ratio, alike, True, "")
        if not (problem := _problem(how, alpha, far)):
            return how
        shown = shown or how._replace(k=1, decides=False, note=problem)
    assert shown is not None  # k = 2 is always tried
    return shown


def cross_fitted(gaps: np.ndarray, k: int, generator: np.random.Generator) -> np.ndarray:
    """Return whether each pair is between clusters as found from all other gaps: bool [N, N].

    If a pair's own gap were used, a small gap would put it within a cluster, so the mean gap within
    would be too low and the difference to the gaps between too large. So for each pair, its log gap
    is replaced by the prediction of the effects of its two models from all other gaps, and the
    models are clustered again, as in `several`.
    """
    count = len(gaps)
    logs = np.log(gaps / scale(gaps) + FLOOR)
    first, second = np.triu_indices(count, 1)
    # The leave-one-out residual: the residual divided by one minus the leverage.
    off = without_models(logs)[first, second] / (1 - 2 / (count - 1))
    each = np.tile(logs, (len(first), 1, 1))
    pairs = np.arange(len(first))
    each[pairs, first, second] -= off
    each[pairs, second, first] -= off
    labels = _split(without_models(each), k, generator)
    return square(labels[pairs, first] != labels[pairs, second], count) > 0


def unsteady(gaps: np.ndarray, k: int, generator: np.random.Generator) -> np.ndarray:
    """Return for which models of [N, N] the others cluster differently without it: bool [N].

    If there is none, a jackknife that clusters again without each model (`partition`) equals one
    that takes the clusters as fixed.
    """
    left = np.array([np.delete(np.arange(len(gaps)), model) for model in range(len(gaps))])
    parts = partition(gaps[left[:, :, None], left[:, None, :]], k, generator)
    return adjusted_rand(parts, partition(gaps, k, generator)[left]) < 1


def between(
    values: np.ndarray,
    gaps: np.ndarray,
    k: int,
    generator: np.random.Generator,
    confidence: float,
    draws: int = 999,
) -> dict[str, Any]:
    """Return by how much values of pairs [N, N] are higher between clusters of `gaps` than within.

    Least squares, adjusted for effects of models, since a model that is far from all others may
    have high values with all of them; the interval is a t interval from the residuals of pairs.
    Clusters (`partition`) are part of the estimate: the two-sided `p` permutes values over models
    while the gaps stay, so clusters formed by noise also occur under the null. Not for values that
    are a function of the gaps, which correlate with them with or without clusters: use `several`.

    Args:
        values: symmetric; NaN for pairs without a value.
        gaps: the gaps that clusters come from.
        k: the number of clusters.
        generator: draws the starts of k-means and the permutations.
        confidence: the confidence of the interval.
        draws: the number of permutations.

    Returns:
        As `seeds.jackknife`, and `p`. It does not decide if interval and p disagree about 0, or if
        a cluster has fewer than three models.
    """
    labels = partition(gaps, k, generator)
    first, second = np.nonzero(np.triu(np.isfinite(values), 1))
    models = np.zeros((len(first), len(gaps)))
    models[np.arange(len(first)), first] = models[np.arange(len(first)), second] = 1
    axes, sizes, _ = np.linalg.svd(models, full_matrices=False)
    axes = axes[:, sizes > 1e-9]
    dealt = np.concatenate([labels[None], generator.permuted(np.tile(labels, (draws, 1)), axis=-1)])
    apart = (dealt[:, first] != dealt[:, second]).astype(float)
    apart -= apart @ axes @ axes.T
    rest = values[first, second] - axes @ (axes.T @ values[first, second])
    squares = np.square(apart).sum(-1)
    known = squares > 1e-9
    slopes = np.where(known, apart @ rest / np.where(known, squares, 1), np.nan)
    free = len(first) - axes.shape[1] - 1
    mean, half, p, note = float(slopes[0]), np.nan, np.nan, ""
    if np.bincount(labels, minlength=k).min() < LEAST or not known[0] or free < 1:
        note = "a cluster has fewer than three models, or too few pairs"
    else:
        error = np.sqrt(np.square(rest - mean * apart[0]).sum() / free / squares[0])
        half = float(stdtrit(free, (1 + confidence) / 2) * error)
        p = float(np.nanmean(np.abs(slopes) >= abs(mean) - 1e-12))
        if (abs(mean) > half) != (p <= 1 - confidence):
            note = f"the interval and the permutation test (p = {p:.2g}) disagree about 0"
    interval = {"mean": mean, "ci_low": mean - half, "ci_high": mean + half, "seeds": len(gaps)}
    interval |= {"method": "least squares at equal models, t", "decides": not note, "note": note}
    return interval | {"unseen": unseen(len(gaps), confidence), "p": p}


def _split(rest: np.ndarray, k: int, generator: np.random.Generator) -> np.ndarray:
    """Return k clusters [..., N] of models whose `rest` [..., N, N] is low among themselves."""
    values, vectors = np.linalg.eigh(-rest)
    kept = slice(-(k - 1), None)
    return k_means(
        vectors[..., kept] * np.sqrt(np.maximum(values[..., None, kept], 0)), k, generator
    )


def _between(labels: np.ndarray) -> np.ndarray:
    """Return the indicator of pairs between clusters [..., N, N], without effects of models."""
    return without_models((labels[..., :, None] != labels[..., None, :]).astype(float))


def _explained(rest: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the share [...] of the squares of `rest` [..., N, N] that clusters explain."""
    between = _between(labels)
    both, size = (rest * between).sum((-1, -2)), np.square(between).sum((-1, -2))
    total = np.square(rest).sum((-1, -2))
    share = both * np.abs(both) / np.maximum(size * total, TINY)
    return np.where((size > 1e-9) & (total > 1e-9), share, 0.0)


def _alike(
    rest: np.ndarray, labels: np.ndarray, draws: int, generator: np.random.Generator
) -> float:
    """Return the p for `rest` [N, N] consisting of clusters `labels` [N] and noise alone.

    The statistics of the residuals are their largest eigenvalue, their structure between clusters,
    and their largest eigenvalues within clusters; p is that of the smallest of the three p among
    all draws.
    """
    between = _between(labels)
    size = np.square(between).sum()
    if size < 1e-9:
        return 0.0
    members = labels[:, None] == np.arange(labels.max() + 1)
    axes, _ = np.linalg.qr((members - members.mean(0))[:, :-1])
    inside = [
        np.ix_(own, own) for own in members.T if own.sum() > 3
    ]  # three models leave no residual

    def left(values: np.ndarray) -> np.ndarray:
        slope = (values * between).sum((-1, -2), keepdims=True) / size
        return values - slope * between

    def structure(values: np.ndarray) -> np.ndarray:
        parts = [without_models(values[..., *own]) for own in inside]
        within = [sum(map(of, parts), np.zeros(len(values))) for of in (_highest, _squared)]
        shares = (_highest(values), _squared(values @ axes)) / np.maximum(_squared(values), TINY)
        return np.stack([*shares, within[0] / np.maximum(within[1], TINY)])

    ours = left(rest)
    if _squared(ours) < 1e-9 * max(_squared(rest), 1e-9):
        return 1.0  # clusters explain everything
    apart = (labels[:, None] != labels)[np.triu_indices(len(labels), 1)]
    dealt = np.tile(upper(ours), (draws, 1))
    for kind in (apart, ~apart):  # small gaps within may be noisier
        dealt[:, kind] = generator.permuted(dealt[:, kind], axis=-1)
    theirs = left(without_models(square(dealt, len(labels))))
    shares = structure(np.concatenate([ours[None], theirs]))
    least = rankdata(-shares, "max", axis=-1).min(0)  # how many draws have as much
    return float((least <= least[0]).mean())


def _highest(values: np.ndarray) -> np.ndarray:
    """Return the largest squared eigenvalue [...] of matrices [..., N, N]."""
    return np.square(np.linalg.eigvalsh(values)).max(-1)


def _squared(values: np.ndarray) -> np.ndarray:
    """Return the sum of squares [...] of matrices [..., N, M]."""
    return np.square(values).sum((-1, -2))


def _least_ratio(logs: np.ndarray, labels: np.ndarray) -> float:
    """Return the smallest ratio of a cluster's geometric mean gaps to others and within, or 0."""
    off = ~np.eye(len(labels), dtype=bool)
    ratios = []
    for label in range(labels.max() + 1):
        inside = labels == label
        if inside.sum() in (0, 1, len(inside)):
            return 0.0
        ratios.append(
            logs[np.ix_(inside, ~inside)].mean() - logs[np.outer(inside, inside) & off].mean()
        )
    return float(np.exp(min(ratios)))


def _apart(rest: np.ndarray, labels: np.ndarray) -> float:
    """Return by how many standard deviations of `rest` pairs between clusters exceed others."""
    between, count = _between(labels), len(labels)
    size = np.square(between).sum()
    slope = (rest * between).sum() / size if size > 1e-9 else 0.0
    left = np.square(rest - slope * between).sum() / 2
    free = count * (count - 1) / 2 - count - 1
    return float(slope / max(np.sqrt(left / free), 1e-9))


def _parted(logs: np.ndarray, labels: np.ndarray) -> bool:
    """Return whether every gap between clusters is at least `PARTED` times any gap within."""
    apart = labels[:, None] != labels
    within = ~apart & ~np.eye(len(labels), dtype=bool)
    return bool(logs[apart].min() > logs[within].max() + np.log(PARTED))


def _problem(how: Several, alpha: float, far: bool) -> str:
    """Return why clusters are not shown, or nothing."""
    if len(how.labels) < FEWEST:
        return f"with fewer than {FEWEST} models, clusters cannot be told from a continuum"
    if how.p > alpha:
        return "gaps permuted over the pairs split equally well"
    if not far and how.apart < APART:
        return f"the best clusters are {how.apart:.1f} standard deviations apart, not {APART:g}"
    if not far:
        return "in one of the best clusters, gaps within are as large as gaps to others"
    if np.bincount(how.labels).min() < LEAST:
        return f"one of the best clusters has fewer than {LEAST} models, which may be outliers"
    if how.alike <= ALIKE:
        return "the best clusters leave structure: a continuum, or clusters in clusters"
    return ""
