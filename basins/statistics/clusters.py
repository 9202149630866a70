"""Clusters of models by the convexity gaps of the paths between them (LCRGS, section 3).

A matrix of gaps is float64 [..., N, N], symmetric with a zero diagonal, in nats or the unit of its
measure. The paper's code fixes two clusters, a width of 1 and scikit-learn's seed. Here widths are
multiples of the `scale` of the gaps, so that other measures are treated alike. Whether there are
clusters, and how many, is tested separately: `structure.py`.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from basins.errors import UserError

WIDTH = 10.0
"""Width of the affinity in units of `scale`; about the ratio of the paper's width 1 to its gaps."""

WIDTHS = (0.5, 1.0, 2.0, WIDTH)
"""Widths that are compared; for the largest, the embedding is that of classical scaling."""


class Triples(NamedTuple):
    """All triples of models, and by how much their gaps violate the triangle inequality.

    `excess` [triples] is the longest gap less the two others, divided by the mean of all gaps, and
    at least 0. `models` are three arrays [triples] of indices.
    """

    excess: np.ndarray
    models: tuple[np.ndarray, np.ndarray, np.ndarray]


class Agreement(NamedTuple):
    """How far other partitions agree with one: adjusted Rand [R], and a share for each model [N].

    A model's share is that of other models with which it is together, or apart, as in that one.
    """

    rand: np.ndarray
    models: np.ndarray


def matrix(rows: pd.DataFrame, measure: str) -> tuple[list[str], np.ndarray]:
    """Return the models of rows of pairs, by recipe and seed, and their matrix of `measure`.

    Raises `UserError` if a pair is missing, occurs twice, or has no finite value.
    """
    known = pd.unique(rows[["model_a", "model_b"]].to_numpy().ravel())
    models = sorted(known, key=lambda model: (model.rpartition("/")[0], _seed(model)))
    place = {model: index for index, model in enumerate(models)}
    gaps = np.full((len(models), len(models)), np.nan)
    np.fill_diagonal(gaps, 0)
    for a, b, value in zip(rows["model_a"], rows["model_b"], rows[measure], strict=True):
        if np.isfinite(gaps[place[a], place[b]]):
            raise UserError(f"clusters: {a} and {b} are joined twice; choose one path of theirs")
        gaps[place[a], place[b]] = gaps[place[b], place[a]] = value
    absent = np.argwhere(~np.isfinite(gaps))
    if len(absent):
        a, b = (models[index] for index in absent[0])
        raise UserError(f"clusters: no {measure} of {a} and {b}; clusters take all pairs of models")
    if len(models) < 4:
        raise UserError(f"clusters: {len(models)} models; clusters take 4 or more")
    return models, gaps


def scale(gaps: np.ndarray) -> np.ndarray:
    """Return the median gap [...]; the mean if that is 0, and 1 if all gaps are 0."""
    pairs = upper(gaps)
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

    Of two clusters of equal size, the one with the earlier first point comes first.
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

    c0 is the centre of the larger cluster, whose models have negative scores (in LCRGS the sign
    depends on the order of k-means).
    """
    labels = partition(gaps, 2, generator, width)
    points = embedding(gaps, width * scale(gaps))
    near, far = (
        np.linalg.norm(points - points[labels == label].mean(0), axis=-1) for label in (0, 1)
    )
    return near - far


def permuted(gaps: np.ndarray, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Return matrices [draws, N, N] of the same gaps permuted over pairs, without clusters."""
    pairs = np.tile(upper(gaps), (draws, 1))
    return square(generator.permuted(pairs, axis=-1), len(gaps))


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

    A subset has as many models as a bootstrap sample has distinct ones: repeated models, with gap 0
    to each other, would form a cluster of their own.
    """
    drawn = subsets(len(gaps), resamples, generator)
    parts = gaps[drawn[:, :, None], drawn[:, None, :]]
    return _agreement(partition(parts, int(labels.max()) + 1, generator), labels, drawn)


def over_examples(
    resampled: np.ndarray, labels: np.ndarray, generator: np.random.Generator
) -> Agreement:
    """Return how far partitions on resampled examples agree with `labels` [N]."""
    parts = partition(resampled, int(labels.max()) + 1, generator)
    return _agreement(parts, labels, np.broadcast_to(np.arange(len(labels)), parts.shape))


def subsets(count: int, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """Return int [resamples, 0.63 count]: subsets of the size of the distinct bootstrap draws."""
    size = max(4, round((1 - np.exp(-1)) * count))
    return np.sort(generator.random((resamples, count)).argsort(-1)[:, :size], axis=-1)


def transitivity(gaps: np.ndarray) -> Triples:
    """Return by how much each triple of models violates the triangle inequality.

    Gaps are not a metric; if they were, models without a gap to a third would have none between
    them.
    """
    a, b, c = np.array(list(combinations(range(len(gaps)), 3))).T
    sides = np.stack([gaps[a, b], gaps[b, c], gaps[a, c]])
    excess = np.maximum(2 * sides.max(0) - sides.sum(0), 0)
    return Triples(excess / (upper(gaps).mean() or 1), (a, b, c))


def scaling_agreement(gaps: np.ndarray, scores: np.ndarray) -> float:
    """Return |r| of the scores [N] and the first axis of classical scaling, as a check."""
    axis = scaling(gaps, 1)[:, 0]
    spread = axis.std() * scores.std()
    if not spread:
        return float("nan")
    return abs(float(((axis - axis.mean()) * (scores - scores.mean())).mean() / spread))


def _spectrum(
    gaps: np.ndarray, delta: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return eigenvalues, highest first, and vectors of the normalised affinity, and degrees."""
    affinity = np.exp(-np.square(gaps / np.asarray(delta)[..., None, None]) / 2)
    affinity[..., np.arange(gaps.shape[-1]), np.arange(gaps.shape[-1])] = 0
    # A model far from all others has almost no degree, by which its coordinates are divided.
    degrees = np.maximum(affinity.sum(-1), np.finfo(float).eps)
    roots = np.sqrt(degrees)
    values, vectors = np.linalg.eigh(affinity / (roots[..., None] * roots[..., None, :]))
    return values[..., ::-1], vectors[..., ::-1], degrees


def _lloyd(
    points: np.ndarray, k: int, generator: np.random.Generator, restarts: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best of several k-means of points [B, N, d]: labels [B, N], sums of squares."""
    batch, count, _ = points.shape
    spread = points[:, None]  # [B, restarts, N, d]
    drawn = generator.integers(count, size=(batch, restarts, 1))
    centres = points[np.arange(batch)[:, None, None], drawn]
    for _ in range(1, k):  # k-means++: far points are more likely
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
    total = np.zeros(())
    for axis in range(points.shape[-1]):  # several times faster than one sum over axes
        total = total + np.square(points[..., :, None, axis] - centres[..., None, :, axis])
    return total


def separation(gaps: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mean gap [...] between clusters over that within; infinite if the latter is 0."""
    first, second = np.triu_indices(gaps.shape[-1], 1)
    pairs, between = gaps[..., first, second], labels[..., first] != labels[..., second]
    across, within = (
        (pairs * kept).sum(-1) / np.maximum(kept.sum(-1), 1) for kept in (between, ~between)
    )
    infinite = np.where(across > 0, np.inf, 1.0)
    return np.where(within > 0, across / np.where(within > 0, within, 1), infinite)


def _agreement(parts: np.ndarray, labels: np.ndarray, drawn: np.ndarray) -> Agreement:
    """Compare partitions [R, m] of the models `drawn` [R, m] with `labels` [N]."""
    whole = labels[drawn]
    same = (parts[..., None] == parts[:, None]) == (whole[..., None] == whole[:, None])
    shares = (same.sum(-1) - 1) / (parts.shape[-1] - 1)
    sums, counts = np.zeros((2, len(labels)))
    np.add.at(sums, drawn, shares)
    np.add.at(counts, drawn, 1)
    models = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return Agreement(adjusted_rand(parts, whole), models)


def upper(gaps: np.ndarray) -> np.ndarray:
    """Return the gaps of all pairs [..., N (N - 1) / 2], of matrices [..., N, N]."""
    first, second = np.triu_indices(gaps.shape[-1], 1)
    return gaps[..., first, second]


def square(pairs: np.ndarray, count: int) -> np.ndarray:
    """Return the matrices [..., N, N] of the gaps of all pairs of `count` models."""
    gaps = np.zeros((*pairs.shape[:-1], count, count))
    first, second = np.triu_indices(count, 1)
    gaps[..., first, second] = gaps[..., second, first] = pairs
    return gaps


def _seed(model: str) -> int:
    return int(model.rpartition("/seed")[2])
