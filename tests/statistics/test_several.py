"""How often clusters are shown where there are none, and where there are: docs/statistics.md."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage
from scipy.stats import binom

from basins.statistics import clusters, structure

DOC = Path(__file__).parents[2] / "docs" / "statistics.md"
COUNTS = (12, 16, 24)
MORE = (*COUNTS, 32)
NOISE = (0.0, 0.1, 0.33)


def pairwise(draw, count):
    upper = np.triu(draw((count, count)), 1)
    return upper + upper.T


def noise(rng, variation=0.33):
    return lambda size: rng.gamma(variation**-2, variation**2, size)


def of_models(rng, count, join, spread):
    own = spread(rng, count)
    return join(own[:, None], own) * pairwise(noise(rng), count)


def line(rng, count, least=0.0, variation=0.0, dimensions=1):
    return distances(rng, rng.uniform(size=(count, dimensions)), variation, least)


def distances(rng, places, variation, least=0.0):
    count = len(places)
    gaps = least + np.linalg.norm(places[:, None] - places, axis=-1)
    return gaps * pairwise(noise(rng, variation), count) if variation else gaps


def far(rng, count, models, dimensions, together=False):
    """Places within a unit's reach, and some models two to five units off, each in its direction.

    Those that are `together` are off in one direction, at places of their own.
    """
    places = rng.uniform(size=(count, dimensions))
    off = rng.normal(size=(models, dimensions))
    off = np.tile(off[:1], (models, 1)) if together else off
    off *= rng.uniform(2, 5, (models, 1)) / np.linalg.norm(off, axis=-1, keepdims=True)
    places[:models] = 0.5 + off
    return places


def examples(rng, count):
    """One true gap, the examples' noise, most of which pairs with a model in common share."""
    own = rng.normal(0, 0.02, count)
    noise = pairwise(lambda size: rng.normal(0, 0.01, size), count)
    return np.maximum(0.1 + own[:, None] + own + noise, 0)


def planted(rng, sizes, ratio=3.0, models=0.0):
    labels, own = np.repeat(np.arange(len(sizes)), sizes), rng.normal(0, models, sum(sizes))
    means = np.where(labels[:, None] == labels, 1, ratio) * np.exp(own[:, None] + own)
    return means * pairwise(noise(rng), len(labels))


NONE = {
    "noise, cv .33": lambda rng, n: pairwise(noise(rng), n),
    "noise, exponential": lambda rng, n: pairwise(lambda size: rng.exponential(size=size), n),
    "noise, most gaps 0": lambda rng, n: pairwise(
        lambda size: np.maximum(rng.normal(-0.01, 0.02, size), 0), n
    ),
    "clusters' gaps, permuted": lambda rng, n: clusters.permuted(planted(rng, (n - 4, 4)), 1, rng)[
        0
    ],
    "noise of examples": examples,
    "effects of models, products": lambda rng, n: of_models(
        rng, n, np.multiply, lambda rng, n: rng.lognormal(0, 0.4, n)
    ),
    "effects of models, sums": lambda rng, n: of_models(
        rng, n, np.add, lambda rng, n: 0.15 + rng.exponential(size=n)
    ),
    "effects of models, maxima": lambda rng, n: of_models(
        rng, n, np.maximum, lambda rng, n: 0.1 + rng.exponential(size=n)
    ),
    "places on a line": line,
    "places on a line, noise of cv .1": lambda rng, n: line(rng, n, variation=0.1),
    "places on a line, noise of cv .33": lambda rng, n: line(rng, n, variation=0.33),
    "places on a line, least gap .1": lambda rng, n: line(rng, n, 0.1),
    "places on a line, least gap .1, noise of cv .33": lambda rng, n: line(rng, n, 0.1, 0.33),
    "places on a plane": lambda rng, n: line(rng, n, dimensions=2),
}
SOME = {
    "two clusters, 2 in one": lambda rng, n: planted(rng, (n - 2, 2)),
    "two clusters, 3 in one": lambda rng, n: planted(rng, (n - 3, 3)),
    "two clusters, 4 in one": lambda rng, n: planted(rng, (n - 4, 4)),
    "two clusters, halves": lambda rng, n: planted(rng, (n - n // 2, n // 2)),
    "two clusters, 3 in one, effects of models": lambda rng, n: planted(
        rng, (n - 3, 3), models=0.3
    ),
    "two clusters, halves, a ratio of 2": lambda rng, n: planted(rng, (n - n // 2, n // 2), 2.0),
    "two clusters, 4 in one, a ratio of 2": lambda rng, n: planted(rng, (n - 4, 4), 2.0),
    "three clusters, equal": lambda rng, n: planted(rng, (n - 2 * (n // 3), n // 3, n // 3)),
}


TAILS = {
    "Student's t, 3 degrees": lambda rng, n, d: rng.standard_t(3, (n, d)),
    "Student's t, 2 degrees": lambda rng, n, d: rng.standard_t(2, (n, d)),
    "lognormal": lambda rng, n, d: rng.lognormal(size=(n, d)),
    "uniform, 1 far": lambda rng, n, d: far(rng, n, 1, d),
    "uniform, 2 far": lambda rng, n, d: far(rng, n, 2, d),
    "uniform, 3 far": lambda rng, n, d: far(rng, n, 3, d),
    "uniform, 3 far in one direction": lambda rng, n, d: far(rng, n, 3, d, together=True),
}
PLACES = {
    f"{name}, on a {space}": (draw, dimensions)
    for dimensions, space in ((1, "line"), (2, "plane"))
    for name, draw in TAILS.items()
}


def continuum(kind, count, runs, variation, seed=0, draws=99):
    """In how many runs is a continuum taken for clusters? Percent."""
    rng, (draw, dimensions) = np.random.default_rng([seed, count]), PLACES[kind]
    shown = [
        structure.several(
            distances(rng, draw(rng, count, dimensions), variation), rng, 0.05, draws
        ).decides
        for _ in range(runs)
    ]
    return 100 * float(np.mean(shown))


def measure(kind, count, runs, seed=0, draws=99):
    """In how many runs are there clusters? Percent."""
    rng, make = np.random.default_rng([seed, count]), {**NONE, **SOME}[kind]
    shown = sum(structure.several(make(rng, count), rng, 0.05, draws).decides for _ in range(runs))
    return 100 * shown / runs


def written():
    """What docs/statistics.md says of every kind of gaps: percent, by the number of models."""
    rows = re.findall(
        r"^\| ([^|]+?) \| ([\d.]+(?: \| [\d.]+)+) \|$", DOC.read_text("utf-8"), re.MULTILINE
    )
    known = {name: [float(cell) for cell in cells.split(" | ")] for name, cells in rows}
    return {name: dict(zip(COUNTS, known[name], strict=True)) for name in (*NONE, *SOME)}


def written_of_places():
    """What it says of every continuum: percent by the number of models, and by the noise."""
    number = r"[\d.]+"
    cell = f"{number} / {number} / {number}"
    rows = re.findall(
        rf"^\| ([^|]+?) \| ({cell}(?: \| {cell}){{3}}) \|$", DOC.read_text("utf-8"), re.MULTILINE
    )
    known = {name: re.findall(number, cells) for name, cells in rows}
    return {name: np.array(known[name], float).reshape(len(MORE), -1) for name in PLACES}


def likely(share, runs):
    """The fewest and the most of `runs` that fit a share, or one a percent off: 99 % of draws.

    Seeds are fixed, so these bounds need no room for chance in many runs of the tests.
    """
    return binom.ppf([0.005, 0.995], runs, np.clip(share + np.array([-0.01, 0.01]), 0, 1))


@pytest.mark.parametrize("kind", PLACES)
def test_a_continuum_of_twelve_models_is_taken_for_clusters_as_often_as_the_table_says(kind):
    runs, share = 10, written_of_places()[kind][0].mean() / 100
    shown = round(sum(continuum(kind, 12, runs, variation) * runs / 100 for variation in NOISE))
    low, high = likely(share, 3 * runs)
    assert low <= shown <= high


def test_a_continuum_with_heavy_tails_or_outliers_is_seldom_taken_for_clusters():
    """Three models in one direction are a cluster of three. Draws of all noise count as one.

    On a line, which has two directions, three are so in a quarter of draws.
    """
    rows = written_of_places()
    for kind in PLACES:
        if "3 far in one direction" not in kind and kind != "uniform, 3 far, on a line":
            assert rows[kind].mean(1).max() <= 7.5, kind


def linked(gaps, labels):
    """Whether clusters are connected sets: steps within them are smaller than any gap between."""
    sides = [labels == label for label in range(labels.max() + 1)]
    steps = [linkage(clusters.upper(gaps[np.ix_(own, own)]), "single")[:, 2].max() for own in sides]
    return max(steps) < gaps[labels[:, None] != labels].min()


@pytest.mark.parametrize("kind", [kind for kind in PLACES if "3 far" in kind])
def test_far_models_pass_as_a_cluster_where_they_are_a_connected_set(kind):
    rng, (draw, dimensions), runs = np.random.default_rng(6), PLACES[kind], 15
    wrong = 0
    for variation in NOISE:
        for _ in range(runs):
            places = draw(rng, 12, dimensions)
            true = distances(rng, places, 0.0)
            noisy = true * pairwise(noise(rng, variation), 12) if variation else true
            found = structure.several(noisy, rng, 0.05, 99)
            wrong += found.decides and not linked(true, found.labels)
    assert wrong <= binom.ppf(0.9999, runs * len(NOISE), 0.05)


@pytest.mark.parametrize("far", [1, 2])
def test_models_that_are_far_by_themselves_are_no_cluster(far):
    rng = np.random.default_rng(3)
    gaps = planted(rng, (16 - far, far), ratio=30.0)
    found = structure.several(gaps, rng, 0.05, 99)
    assert not found.decides
    if far == 2:
        assert "fewer than 3 models" in found.note


@pytest.mark.parametrize("kind", [*NONE, *SOME])
def test_clusters_of_twelve_models_are_shown_as_often_as_the_table_says(kind):
    runs, share = 30, written()[kind][12] / 100
    low, high = likely(share, runs)
    assert low <= round(measure(kind, 12, runs) * runs / 100) <= high


def test_the_table_keeps_the_size_and_has_the_power_that_is_asked_for():
    """Against places on a line it takes 16 models; of 12, docs/statistics.md tells what fails."""
    rows = written()
    for kind in NONE:
        assert rows[kind][12] <= (11 if "line" in kind else 3), kind
        assert max(rows[kind][16], rows[kind][24]) <= 5, kind
    for kind in ("two clusters, 3 in one", "two clusters, 4 in one", "two clusters, halves"):
        assert min(rows[kind].values()) >= 89, kind


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
        shown += structure.several(gaps, generator, alpha, draws).decides
    return shown / runs


def test_power_is_that_of_the_table():
    share = power(12, 3, np.random.default_rng(2), runs=60, draws=99)
    assert binom.ppf(1e-4, 60, 0.9) <= 60 * share
    assert power(12, 1, np.random.default_rng(2), runs=20, draws=99) < 0.3


if __name__ == "__main__":
    for name in (*SOME, *reversed(NONE)):
        cells = (measure(name, *how, 1) for how in zip(COUNTS, (400, 200, 100), strict=True))
        print(f"| {name} | " + " | ".join(f"{cell:.1f}" for cell in cells), "|", flush=True)
    for name in PLACES:
        cells = (
            " / ".join(f"{continuum(name, *how, variation, 1):.1f}" for variation in NOISE)
            for how in zip(MORE, (150, 60, 40, 40), strict=True)
        )
        print(f"| {name} | " + " | ".join(cells), "|", flush=True)
