"""Are there clusters of models, how many, and what differs between them (docs/statistics.md).

Gaps are as in `clusters`. Every model may be near or far from all others, which makes no clusters:
that part is taken out of the logarithms of the gaps first, and what is left is held against
permutations and against a continuum.
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
"""Of fewer models, two clusters cannot be told from places on a line (docs/statistics.md)."""


SURE = 16
"""Of fewer models places on a line pass in up to 8 % of draws, from here on in up to 3."""


EACH = 6
"""Models, for every cluster that is looked for."""


APART = 2.5
"""By how many standard deviations of log gaps those between clusters exceed those within."""


PARTED = 1.25
"""How many times the largest gap within all gaps between are where no test is needed."""


LEAST = 3
"""Models of a cluster: of fewer, clusters cannot be told from models that are far by themselves."""


ALIKE = 0.05
"""Level of the test of whether clusters leave no structure in the gaps."""


TINY = np.finfo(float).tiny

FLOOR = 0.05
"""Added to gaps, over their scale, before logarithms: gaps may be exactly 0."""


class Several(NamedTuple):
    """Whether models fall into clusters.

    `k` is how many; 1 where that is not shown, which does not say that there are none. `labels` [N]
    are those clusters, or the best two. `p` is that of gaps without structure but for effects of
    single models; `apart` by how many standard deviations log gaps between clusters exceed those
    within; `ratio` how many times the gaps within a cluster those to others are (geometric means,
    the least of all clusters); `alike` the p of there being no structure but these clusters, where
    they are far apart.
    `decides` is whether clusters are shown, `note` why not, in a few words.
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
    """Return what a mean and an effect of each model leave of values of pairs [..., N, N].

    By least squares: values are read off the diagonal, which comes out as 0.
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
    bad seed is far from all others). There are k clusters, the fewest up to N / `EACH`, where

    1. they explain more of these than of `draws` matrices whose entries are dealt anew to the
       pairs and clustered again, at the level `alpha` over how many k are tried;
    2. gaps between clusters exceed those within by `APART` standard deviations (of two groups on a
       scale, Ashman's D asks for 2), and gaps to others those within in every single cluster;
    3. what they leave has no more structure than noise, by its largest eigenvalue, between
       clusters and within them, at the level `ALIKE`: places on a line would leave some;
    4. each has `LEAST` models: fewer may be outliers.

    Where every gap between is `PARTED` times any within, 2 and 3 hold. Of fewer than `FEWEST`
    models nothing is said. `power` says what would be seen.
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
            continue  # what follows takes long
        theirs = _explained(nulls, _split(nulls, k, generator))
        above = (theirs >= _explained(rest, labels) - 1e-12).sum()
        p = min(1.0, len(tries) * float(1 + above) / (1 + draws))
        alike = 1.0 if parted else _alike(rest, labels, draws, generator) if far else np.nan
        how = Several(k, labels, p, apart, ratio, alike, True, "")
        if not (problem := _problem(how, alpha, far)):
            return how
        shown = shown or how._replace(k=1, decides=False, note=problem)
    assert shown is not None  # there is always a try
    return shown


def cross_fitted(gaps: np.ndarray, k: int, generator: np.random.Generator) -> np.ndarray:
    """Return whether every two models are of different clusters as all other gaps say: bool [N, N].

    A pair whose own gap had a say would be within a cluster for being small, so that the mean of
    gaps within would be too low, and what exceeds it too high. Its logarithm is replaced by what
    the effects of its two models predict from all other gaps, and the models are clustered anew,
    as in `several`, for each pair.
    """
    count = len(gaps)
    logs = np.log(gaps / scale(gaps) + FLOOR)
    first, second = np.triu_indices(count, 1)
    # What a value is off the prediction without it: its residual over one less its leverage.
    off = without_models(logs)[first, second] / (1 - 2 / (count - 1))
    each = np.tile(logs, (len(first), 1, 1))
    pairs = np.arange(len(first))
    each[pairs, first, second] -= off
    each[pairs, second, first] -= off
    labels = _split(without_models(each), k, generator)
    return square(labels[pairs, first] != labels[pairs, second], count) > 0


def unsteady(gaps: np.ndarray, k: int, generator: np.random.Generator) -> np.ndarray:
    """Return without which models of a matrix [N, N] the others fall into other clusters: bool [N].

    Where that is none, an interval that leaves every model out of the clusters (`partition`), too,
    is the one that leaves it out of rows of clusters as they are.
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
    """Return by how much values of pairs [N, N] are higher between clusters by `gaps` than within.

    Least squares at equal effects of models, as a model that is far from all others may be worse
    with all; the interval is t, over what these leave of pairs. Clusters (`partition`) are a part
    of the estimate: `p`, two-sided, is of values that are dealt anew to the models with their gaps,
    so whichever clusters noise would make are there under the null, too. Values that are these gaps
    in another guise go with them whether there are clusters or not: for those, ask `several`.

    Args:
        values: symmetric; NaN for pairs that have none.
        gaps: what clusters come from.
        k: their number.
        generator: of starts and draws.
        confidence: the confidence of the interval.
        draws: how often values are dealt anew.

    Returns:
        As `seeds.jackknife`, and `p`. It does not decide where interval and p disagree about 0, or
        where a cluster has fewer than three models.
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
            note = f"the interval and values dealt anew (p = {p:.2g}) disagree about 0"
    interval = {"mean": mean, "ci_low": mean - half, "ci_high": mean + half, "seeds": len(gaps)}
    interval |= {"method": "least squares at equal models, t", "decides": not note, "note": note}
    return interval | {"unseen": unseen(len(gaps), confidence), "p": p}


def _split(rest: np.ndarray, k: int, generator: np.random.Generator) -> np.ndarray:
    """Return k clusters [..., N] of models that have low values of `rest` [..., N, N] in common."""
    values, vectors = np.linalg.eigh(-rest)
    kept = slice(-(k - 1), None)
    return k_means(
        vectors[..., kept] * np.sqrt(np.maximum(values[..., None, kept], 0)), k, generator
    )


def _between(labels: np.ndarray) -> np.ndarray:
    """Return whether pairs are of two clusters [..., N, N], without effects of models."""
    return without_models((labels[..., :, None] != labels[..., None, :]).astype(float))


def _explained(rest: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return which share [...] of the squares of `rest` [..., N, N] clusters explain."""
    between = _between(labels)
    both, size = (rest * between).sum((-1, -2)), np.square(between).sum((-1, -2))
    total = np.square(rest).sum((-1, -2))
    share = both * np.abs(both) / np.maximum(size * total, TINY)
    return np.where((size > 1e-9) & (total > 1e-9), share, 0.0)


def _alike(
    rest: np.ndarray, labels: np.ndarray, draws: int, generator: np.random.Generator
) -> float:
    """Return the p of there being nothing in `rest` [N, N] but noise and clusters `labels` [N].

    What is asked of what they leave is its largest eigenvalue, what it is between clusters, and the
    largest eigenvalues within them; p is that of the least of the three p among all draws.
    """
    between = _between(labels)
    size = np.square(between).sum()
    if size < 1e-9:
        return 0.0
    members = labels[:, None] == np.arange(labels.max() + 1)
    axes, _ = np.linalg.qr((members - members.mean(0))[:, :-1])
    inside = [np.ix_(own, own) for own in members.T if own.sum() > 3]  # three leave nothing

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
        return 1.0  # clusters explain all there is
    apart = (labels[:, None] != labels)[np.triu_indices(len(labels), 1)]
    dealt = np.tile(upper(ours), (draws, 1))
    for kind in (apart, ~apart):  # small gaps within may be noisier
        dealt[:, kind] = generator.permuted(dealt[:, kind], axis=-1)
    theirs = left(without_models(square(dealt, len(labels))))
    shares = structure(np.concatenate([ours[None], theirs]))
    least = rankdata(-shares, "max", axis=-1).min(0)  # how many have as much
    return float((least <= least[0]).mean())


def _highest(values: np.ndarray) -> np.ndarray:
    """Return the largest squared eigenvalue [...] of matrices [..., N, N]."""
    return np.square(np.linalg.eigvalsh(values)).max(-1)


def _squared(values: np.ndarray) -> np.ndarray:
    """Return the sum of squares [...] of matrices [..., N, M]."""
    return np.square(values).sum((-1, -2))


def _least_ratio(logs: np.ndarray, labels: np.ndarray) -> float:
    """Return the least of clusters' geometric mean gaps to others, over those within; 0 for one."""
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
    """Return by how many standard deviations of `rest` pairs of two clusters exceed others."""
    between, count = _between(labels), len(labels)
    size = np.square(between).sum()
    slope = (rest * between).sum() / size if size > 1e-9 else 0.0
    left = np.square(rest - slope * between).sum() / 2
    free = count * (count - 1) / 2 - count - 1
    return float(slope / max(np.sqrt(left / free), 1e-9))


def _parted(logs: np.ndarray, labels: np.ndarray) -> bool:
    """Return whether every gap between clusters is `PARTED` times any within: no continuum."""
    apart = labels[:, None] != labels
    within = ~apart & ~np.eye(len(labels), dtype=bool)
    return bool(logs[apart].min() > logs[within].max() + np.log(PARTED))


def _problem(how: Several, alpha: float, far: bool) -> str:
    """Return why clusters are not shown, or nothing."""
    if len(how.labels) < FEWEST:
        return f"of fewer than {FEWEST} models, clusters cannot be told from a continuum"
    if how.p > alpha:
        return "gaps that are dealt anew to the pairs split as well"
    if not far and how.apart < APART:
        return f"the best clusters are {how.apart:.1f} standard deviations apart, not {APART:g}"
    if not far:
        return "in one of the best clusters gaps are as large as to others"
    if np.bincount(how.labels).min() < LEAST:
        return f"one of the best clusters has fewer than {LEAST} models, which may be outliers"
    if how.alike <= ALIKE:
        return "the best clusters leave structure: a continuum, or clusters in clusters"
    return ""
