"""Clusters of models by the convexity gaps of the paths between them (LCRGS, section 3).

A matrix of gaps is float64 [..., N, N], symmetric with a zero diagonal, in nats or whatever its
measure has. The paper's code fixes two clusters, a width of 1 and scikit-learn's seed. Here widths
are multiples of the `scale` of the gaps, so that other measures can be held to the same standard,
and whether there are clusters, and how many, is a test of its own: `several`.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from basins.errors import UserError
from basins.statistics.verdict import unseen

WIDTH = 10.0
"""Width of the affinity over `scale`: about what the paper's width of 1 is to its gaps."""

WIDTHS = (0.5, 1.0, 2.0, WIDTH)
"""The sweep, which ends where the embedding is classical scaling."""

FEWEST = 12
"""Of fewer models, two clusters cannot be told from places on a line (docs/statistics.md)."""

EACH = 6
"""Models, for every cluster that is looked for."""

APART = 2.5
"""By how many standard deviations of log gaps those between clusters exceed those within."""

PARTED = 1.25
"""How many times the largest gap within all gaps between are where no test is needed."""

ALIKE = 0.05
"""Level of the test of whether clusters leave no structure in the gaps."""

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


class Triples(NamedTuple):
    """Every three models, and by how much their gaps break the triangle inequality.

    `excess` [triples] is the longest gap less the two others, over the mean of all gaps; 0 where it
    is no longer than them. `models` are three arrays [triples] of indices.
    """

    excess: np.ndarray
    models: tuple[np.ndarray, np.ndarray, np.ndarray]


class Agreement(NamedTuple):
    """How far other partitions agree with one: adjusted Rand [R], and a share for each model [N].

    A model's share counts with how many others it is together, or apart, as in that one.
    """

    rand: np.ndarray
    models: np.ndarray


def matrix(rows: pd.DataFrame, measure: str) -> tuple[list[str], np.ndarray]:
    """Return the models of rows of pairs, by recipe and seed, and their matrix of `measure`.

    Raises `UserError` where a pair is missing, is there twice, or has no finite value.
    """
    known = pd.unique(rows[["model_a", "model_b"]].to_numpy().ravel())
    models = sorted(known, key=lambda model: (model.rpartition("/")[0], _seed(model)))
    place = {model: index for index, model in enumerate(models)}
    found = np.full((len(models), len(models)), np.nan)
    np.fill_diagonal(found, 0)
    for a, b, value in zip(rows["model_a"], rows["model_b"], rows[measure], strict=True):
        if np.isfinite(found[place[a], place[b]]):
            raise UserError(f"clusters: {a} and {b} are joined twice; choose one path of theirs")
        found[place[a], place[b]] = found[place[b], place[a]] = value
    absent = np.argwhere(~np.isfinite(found))
    if len(absent):
        a, b = (models[index] for index in absent[0])
        raise UserError(f"clusters: no {measure} of {a} and {b}; clusters take all pairs of models")
    if len(models) < 4:
        raise UserError(f"clusters: {len(models)} models; clusters take 4 or more")
    return models, found


def scale(gaps: np.ndarray) -> np.ndarray:
    """Return the median gap [...]; the mean where that is 0, and 1 where all gaps are."""
    pairs = _pairs(gaps)
    median, mean = np.median(pairs, axis=-1), pairs.mean(-1)
    return np.where(median > 0, median, np.where(mean > 0, mean, 1.0))


def embedding(gaps: np.ndarray, delta: np.ndarray | float, dimensions: int = 2) -> np.ndarray:
    """Return the spectral embedding [..., N, dimensions] of the affinity exp(-gap^2 / 2 delta^2).

    As scikit-learn's `spectral_embedding(drop_first=False)`: the first coordinate is constant.
    """
    _, vectors, degrees = _spectrum(gaps, delta)
    return vectors[..., :dimensions] / np.sqrt(degrees)[..., None]


def scaling(gaps: np.ndarray, dimensions: int = 2) -> np.ndarray:
    """Return coordinates [..., N, dimensions] by classical multidimensional scaling."""
    squared = np.square(gaps)
    means = squared.mean(-1, keepdims=True)
    centred = squared - means - means.swapaxes(-1, -2) + means.mean(-2, keepdims=True)
    values, vectors = np.linalg.eigh(-centred / 2)
    kept = slice(None, -dimensions - 1, -1)
    return vectors[..., kept] * np.sqrt(np.maximum(values[..., None, kept], 0))


def k_means(points: np.ndarray, k: int, generator: np.random.Generator) -> np.ndarray:
    """Return the cluster of every point [..., N] of points [..., N, d]: 0 is the largest.

    Of two as large, the one with the earlier first point comes first.
    """
    flat = points.reshape(-1, *points.shape[-2:])
    labels, _ = _lloyd(flat, k, generator)
    members = labels[..., None] == np.arange(k)
    ranks = np.argsort(-members.sum(1) * (flat.shape[1] + 1) + members.argmax(1), axis=-1)
    named = np.take_along_axis(np.argsort(ranks, axis=-1), labels, axis=-1)
    return named.reshape(points.shape[:-1])


def partition(
    gaps: np.ndarray, k: int, generator: np.random.Generator, width: float = WIDTH
) -> np.ndarray:
    """Return the spectral clusters [..., N], numbered from the largest."""
    if k == 1:
        return np.zeros(gaps.shape[:-1], int)
    return k_means(embedding(gaps, width * scale(gaps), k), k, generator)


def score(gaps: np.ndarray, generator: np.random.Generator, width: float = WIDTH) -> np.ndarray:
    """Return x(w) = |w - c0| - |w - c1| of every model [N], c0 and c1 the centres of two clusters.

    The larger cluster is c0's: its models are negative (LCRGS fixes the sign by k-means's order).
    """
    labels = partition(gaps, 2, generator, width)
    points = embedding(gaps, width * scale(gaps))
    near, far = (
        np.linalg.norm(points - points[labels == label].mean(0), axis=-1) for label in (0, 1)
    )
    return near - far


def permuted(gaps: np.ndarray, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Return matrices [draws, N, N] of the same gaps, dealt anew to the pairs: no clusters."""
    pairs = np.tile(_pairs(gaps), (draws, 1))
    return _square(generator.permuted(pairs, axis=-1), len(gaps))


def without_models(values: np.ndarray) -> np.ndarray:
    """Return what a mean and an effect of each model leave of values of pairs [..., N, N].

    By least squares: values are read off the diagonal, which comes out as 0.
    """
    count = values.shape[-1]
    off = ~np.eye(count, dtype=bool)
    values = np.where(off, values, 0)
    rows = values.sum(-1, keepdims=True)
    mean = rows.sum(-2, keepdims=True) / (count * (count - 1))
    own = (rows - (count - 1) * mean) / (count - 2)
    return np.where(off, values - mean - own - own.swapaxes(-1, -2), 0)


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
    3. what they leave has no more structure than noise, by its largest eigenvalue and between
       clusters, at the level `ALIKE`: places on a line would leave some.

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
    own = values[first, second] - axes @ (axes.T @ values[first, second])
    squares = np.square(apart).sum(-1)
    known = squares > 1e-9
    slopes = np.where(known, apart @ own / np.where(known, squares, 1), np.nan)
    free = len(first) - axes.shape[1] - 1
    mean, half, p, note = float(slopes[0]), np.nan, np.nan, ""
    if np.bincount(labels, minlength=k).min() < 3 or not known[0] or free < 1:
        note = "a cluster has fewer than three models, or too few pairs"
    else:
        error = np.sqrt(np.square(own - mean * apart[0]).sum() / free / squares[0])
        half = float(stdtrit(free, (1 + confidence) / 2) * error)
        p = float(np.nanmean(np.abs(slopes) >= abs(mean) - 1e-12))
        if (abs(mean) > half) != (p <= 1 - confidence):
            note = f"the interval and values dealt anew (p = {p:.2g}) disagree about 0"
    found = {"mean": mean, "ci_low": mean - half, "ci_high": mean + half, "seeds": len(gaps)}
    found |= {"method": "least squares at equal models, t", "decides": not note, "note": note}
    return found | {"unseen": unseen(len(gaps), confidence), "p": p}


def power(
    count: int,
    minority: int,
    generator: np.random.Generator,
    *,
    ratio: float = 3.0,
    variation: float = 0.33,
    alpha: float = 0.05,
    runs: int = 200,
    draws: int = 199,
) -> float:
    """Return how often `several` shows clusters where there are two.

    Args:
        count: how many models there are.
        minority: how many of them are in the one cluster; the others are in the other.
        generator: draws the gaps.
        ratio: how many times the mean gap within a cluster that between them is.
        variation: the coefficient of variation of all gaps, which are gamma distributed; by default
            that of those that were observed.
        alpha: the level of `several`.
        runs: matrices that are drawn.
        draws: permuted matrices that each is held against.
    """
    shape = variation**-2
    small = np.arange(count) < minority
    means = np.where(small[:, None] != small, ratio, 1.0)
    shown = 0
    for _ in range(runs):
        noise = np.triu(generator.gamma(shape, 1 / shape, means.shape), 1)
        gaps = means * (noise + noise.T)
        shown += several(gaps, generator, alpha, draws).decides
    return shown / runs


def adjusted_rand(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the adjusted Rand index [...] of partitions [..., N]; 1 where they are the same."""
    first, second = np.triu_indices(a.shape[-1], 1)
    together = a[..., first] == a[..., second], b[..., first] == b[..., second]
    both = (together[0] & together[1]).sum(-1)
    sizes = [np.asarray(side.sum(-1), float) for side in together]
    expected, largest = sizes[0] * sizes[1] / len(first), (sizes[0] + sizes[1]) / 2
    trivial = largest == expected
    return np.where(trivial, 1.0, (both - expected) / np.where(trivial, 1, largest - expected))


def over_models(
    gaps: np.ndarray, labels: np.ndarray, generator: np.random.Generator, resamples: int
) -> Agreement:
    """Return how far partitions of subsets of the models agree with `labels` [N].

    A subset has as many models as a bootstrap sample has distinct ones: a repeated model, at no
    gap from itself, would be a cluster of its own.
    """
    chosen = subsets(len(gaps), resamples, generator)
    parts = gaps[chosen[:, :, None], chosen[:, None, :]]
    return _agreement(partition(parts, int(labels.max()) + 1, generator), labels, chosen)


def over_examples(
    resampled: np.ndarray, labels: np.ndarray, generator: np.random.Generator
) -> Agreement:
    """Return how far the partitions of matrices of resampled examples agree with `labels` [N]."""
    parts = partition(resampled, int(labels.max()) + 1, generator)
    return _agreement(parts, labels, np.broadcast_to(np.arange(len(labels)), parts.shape))


def subsets(count: int, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """Return int [resamples, 0.63 count]: what bootstrap samples have of `count` models."""
    size = max(4, round((1 - np.exp(-1)) * count))
    return np.sort(generator.random((resamples, count)).argsort(-1)[:, :size], axis=-1)


def transitivity(gaps: np.ndarray) -> Triples:
    """Return by how much every three models break the triangle inequality.

    A gap is no metric; were it one, models without gaps to a third would have none to each other.
    """
    a, b, c = np.array(list(combinations(range(len(gaps)), 3))).T
    sides = np.stack([gaps[a, b], gaps[b, c], gaps[a, c]])
    excess = np.maximum(2 * sides.max(0) - sides.sum(0), 0)
    return Triples(excess / (_pairs(gaps).mean() or 1), (a, b, c))


def scaling_agreement(gaps: np.ndarray, scores: np.ndarray) -> float:
    """Return |r| of the scores [N] and the first axis of classical scaling: a cross-check."""
    axis = scaling(gaps, 1)[:, 0]
    spread = axis.std() * scores.std()
    if not spread:
        return float("nan")
    return abs(float(((axis - axis.mean()) * (scores - scores.mean())).mean() / spread))


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
    share = both * np.abs(both) / np.maximum(size * total, np.finfo(float).tiny)
    return np.where((size > 1e-9) & (total > 1e-9), share, 0.0)


def _alike(
    rest: np.ndarray, labels: np.ndarray, draws: int, generator: np.random.Generator
) -> float:
    """Return the p of there being nothing in `rest` [N, N] but noise and clusters `labels` [N]."""
    between = _between(labels)
    size = np.square(between).sum()
    if size < 1e-9:
        return 0.0
    members = labels[:, None] == np.arange(labels.max())
    axes, _ = np.linalg.qr(members - members.mean(0))

    def left(values: np.ndarray) -> np.ndarray:
        slope = (values * between).sum((-1, -2), keepdims=True) / size
        return values - slope * between

    def structure(values: np.ndarray) -> np.ndarray:
        total = np.maximum(np.square(values).sum((-1, -2)), np.finfo(float).tiny)
        highest = np.square(np.linalg.eigvalsh(values)).max(-1)
        return np.stack([highest, np.square(values @ axes).sum((-1, -2))]) / total

    ours = left(rest)
    if np.square(ours).sum() < 1e-9 * max(np.square(rest).sum(), 1e-9):
        return 1.0  # clusters explain all there is
    apart = (labels[:, None] != labels)[np.triu_indices(len(labels), 1)]
    dealt = np.tile(_pairs(ours), (draws, 1))
    for kind in (apart, ~apart):  # small gaps within may be noisier
        dealt[:, kind] = generator.permuted(dealt[:, kind], axis=-1)
    theirs = structure(left(without_models(_square(dealt, len(labels)))))
    above = (theirs >= structure(ours)[:, None]).sum(-1)
    return float(min(1.0, 2 * (1 + above.min()) / (1 + draws)))


def _least_ratio(logs: np.ndarray, labels: np.ndarray) -> float:
    """Return the least of clusters' geometric mean gaps to others, over those within; 0 for one."""
    off = ~np.eye(len(labels), dtype=bool)
    ratios = []
    for label in range(labels.max() + 1):
        own = labels == label
        if own.sum() in (0, 1, len(own)):
            return 0.0
        ratios.append(logs[np.ix_(own, ~own)].mean() - logs[np.outer(own, own) & off].mean())
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
    if how.alike <= ALIKE:
        return "the best clusters leave structure: a continuum, or clusters in clusters"
    return ""


def _spectrum(
    gaps: np.ndarray, delta: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return eigenvalues, highest first, and vectors of the normalised affinity, and degrees."""
    affinity = np.exp(-np.square(gaps / np.asarray(delta)[..., None, None]) / 2)
    affinity[..., np.arange(gaps.shape[-1]), np.arange(gaps.shape[-1])] = 0
    # A model far from all others has next to no degree, by which its coordinates are divided.
    degrees = np.maximum(affinity.sum(-1), np.finfo(float).eps)
    roots = np.sqrt(degrees)
    values, vectors = np.linalg.eigh(affinity / (roots[..., None] * roots[..., None, :]))
    return values[..., ::-1], vectors[..., ::-1], degrees


def _lloyd(
    points: np.ndarray, k: int, generator: np.random.Generator, restarts: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best of several k-means of points [B, N, d]: labels [B, N], sums of squares."""
    batch, count, _ = points.shape
    spread = points[:, None]  # beside restarts: [B, restarts, N, d]
    drawn = generator.integers(count, size=(batch, restarts, 1))
    centres = points[np.arange(batch)[:, None, None], drawn]
    for _ in range(1, k):  # k-means++: far points are likelier
        nearest = _squares(spread, centres).min(-1)
        mass = nearest.cumsum(-1)
        level = generator.random((batch, restarts, 1)) * mass[..., -1:]
        new = np.minimum((mass <= level).sum(-1, keepdims=True), count - 1)
        added = points[np.arange(batch)[:, None, None], new]
        centres = np.concatenate([centres, added], axis=2)
    labels = np.full((batch, restarts, count), -1)
    for _ in range(100):
        nearer = _squares(spread, centres).argmin(-1)
        if (nearer == labels).all():
            break
        labels = nearer
        members = (labels[..., None] == np.arange(k)).astype(float)
        sums = np.einsum("brnk,bnd->brkd", members, points)
        sizes = members.sum(2)[..., None]
        centres = np.where(sizes > 0, sums / np.maximum(sizes, 1), centres)
    squares = _squares(spread, centres).min(-1).sum(-1)
    best = squares.argmin(-1)
    rows = np.arange(batch)
    return labels[rows, best], squares[rows, best]


def _squares(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return squared distances [..., N, k] of points [..., N, d] to centres [..., k, d]."""
    found = np.zeros(())
    for axis in range(points.shape[-1]):  # several times as fast as one sum over axes
        found = found + np.square(points[..., :, None, axis] - centres[..., None, :, axis])
    return found


def separation(gaps: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mean gap [...] between clusters over the mean within; infinite where that is 0."""
    first, second = np.triu_indices(gaps.shape[-1], 1)
    pairs, between = gaps[..., first, second], labels[..., first] != labels[..., second]
    across, within = (
        (pairs * kept).sum(-1) / np.maximum(kept.sum(-1), 1) for kept in (between, ~between)
    )
    infinite = np.where(across > 0, np.inf, 1.0)
    return np.where(within > 0, across / np.where(within > 0, within, 1), infinite)


def _agreement(parts: np.ndarray, labels: np.ndarray, chosen: np.ndarray) -> Agreement:
    """Compare partitions [R, m] of the models `chosen` [R, m] with `labels` [N]."""
    whole = labels[chosen]
    same = (parts[..., None] == parts[:, None]) == (whole[..., None] == whole[:, None])
    shares = (same.sum(-1) - 1) / (parts.shape[-1] - 1)
    sums, counts = np.zeros((2, len(labels)))
    np.add.at(sums, chosen, shares)
    np.add.at(counts, chosen, 1)
    models = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return Agreement(adjusted_rand(parts, whole), models)


def _pairs(gaps: np.ndarray) -> np.ndarray:
    first, second = np.triu_indices(gaps.shape[-1], 1)
    return gaps[..., first, second]


def _square(pairs: np.ndarray, count: int) -> np.ndarray:
    found = np.zeros((*pairs.shape[:-1], count, count))
    first, second = np.triu_indices(count, 1)
    found[..., first, second] = found[..., second, first] = pairs
    return found


def _seed(model: str) -> int:
    return int(model.rpartition("/seed")[2])
