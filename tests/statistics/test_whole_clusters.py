"""Verdicts about soups, mixtures and centroids, with the clusters they are of estimated inside.

Losses are quadratic: what they are above the mean of a mixture's models is the sum over pairs of
the product of their weights and a value of the pair. These values are the gaps that the clusters
come from, in the same units, so that whatever makes a pair seem near lowers them, too.
"""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from basins.statistics import clusters, structure
from basins.statistics.seeds import contrast, jackknife, leave_out
from tests.statistics.test_several import likely

DOC = Path(__file__).parents[2] / "docs" / "statistics.md"
KINDS = {
    "8 + 4, a ratio of 3": ((8, 4), 3.0, 0.0),
    "8 + 4, a ratio of 3, effects of models": ((8, 4), 3.0, 0.3),
    "6 + 6, a ratio of 3": ((6, 6), 3.0, 0.0),
    "6 + 6, a ratio of 3, effects of models": ((6, 6), 3.0, 0.3),
    "8 + 4, a ratio of 2": ((8, 4), 2.0, 0.0),
}
QUANTITIES = ("soup", "mixtures", "mixtures apart", "centroid")
RUNS = dict.fromkeys(KINDS, 300) | {"8 + 4, a ratio of 2": 1500}
CONFIDENCE = 0.95
SETS = 6


def drawn(rng, sizes, ratio, models):
    """Gaps, and the values of pairs: the same noise and effects of models, of mean 1 in all."""
    labels, own = np.repeat(np.arange(len(sizes)), sizes), rng.normal(0, models, sum(sizes))
    noise = np.triu(rng.gamma(0.33**-2, 0.33**2, (len(labels),) * 2), 1)
    values = (noise + noise.T) * np.exp(own[:, None] + own - models**2)
    return np.where(labels[:, None] == labels, 1, ratio) * values, values


def sets(rng, labels, size, within):
    """Sets of models of one cluster, or of several, as `landscape.convexity` draws them."""
    chosen = [
        own
        for own in combinations(range(len(labels)), size)
        if (len({*labels[list(own)]}) == 1) == within
    ]
    return [chosen[rng.integers(len(chosen))] for _ in range(SETS if chosen else 0)]


def mixed(rng, values, own):
    """What a mixture of random weights is of, over its expectation."""
    weights = rng.dirichlet(np.ones(len(own)))
    part = values[np.ix_(own, own)]
    return float(weights @ part @ weights) * (len(own) + 1) / (len(own) - 1)


def mean(part):
    return part[np.triu_indices(len(part), 1)].mean(), part.sum(1) / (len(part) - 1)


def padded(rows):
    """One array for each model that takes part in a set, as `claims.results.units`."""
    most = max(map(len, rows))
    return [np.array([own[min(k, len(own) - 1)] for own in rows]) for k in range(most)]


def intervals(rng, values, labels):
    """The interval of every quantity; the truth is 1, and 0 of `mixtures apart`."""
    largest = np.flatnonzero(labels == 0)
    rows = [largest, *(largest[largest != out] for out in largest)]
    soups, sizes = np.array([mean(values[np.ix_(own, own)])[0] for own in rows]), [*map(len, rows)]

    def soup(kept):
        return soups[np.where(kept, sizes, -1).argmax()]

    found = {"soup": leave_out(soup, padded(rows), CONFIDENCE)}
    inside, across = (
        [own for size in (2, 3, 4, 6) for own in sets(rng, labels, size, within)]
        for within in (True, False)
    )
    heights = np.array([mixed(rng, values, list(own)) for own in (*inside, *across)])
    first = np.arange(len(heights)) < len(inside)
    found["mixtures"] = jackknife(heights[first], padded(inside), CONFIDENCE)
    found["mixtures apart"] = contrast(heights, ~first, padded([*inside, *across]), CONFIDENCE)
    stars = np.empty(len(labels))
    for label in range(labels.max() + 1):
        own = np.flatnonzero(labels == label)
        middle, each = mean(values[np.ix_(own, own)])
        stars[own] = 2 * each - middle  # of its distance to the centroid, over the expectation
    found["centroid"] = jackknife(stars, [np.arange(len(labels))], CONFIDENCE)
    return found


def measure(kind, runs, seed=0, draws=99):
    """Percent of runs in which clusters are shown, as rows have them, and are steady, and of calls.

    Calls below and above are of runs with steady clusters. Every truth is the threshold, so every
    call is a wrong one.
    """
    rng = np.random.default_rng([seed, len(kind)])
    shown, steady = 0, 0
    calls: dict[str, np.ndarray] = {name: np.zeros(2) for name in QUANTITIES}
    for _ in range(runs):
        gaps, values = drawn(rng, *KINDS[kind])
        test, labels = structure.several(gaps, rng, 1 - CONFIDENCE, draws), None
        if test.decides:
            labels = clusters.partition(gaps, 2, rng)
        if labels is None or clusters.adjusted_rand(test.labels, labels) < 1:
            continue  # claims do not apply
        shown += 1
        if structure.unsteady(gaps, 2, rng).any():
            continue
        steady += 1
        for name, found in intervals(rng, values, labels).items():
            truth = float(name != "mixtures apart")
            wrong = np.array([found["ci_high"] < truth, truth < found["ci_low"]])
            calls[name] = calls[name] + (wrong & found["decides"])
    shares = {name: 100 * both / max(steady, 1) for name, both in calls.items()}
    return 100 * shown / runs, 100 * steady / runs, shares


def row(kind, runs, seed):
    shown, steady, shares = measure(kind, runs, seed)
    cells = (" / ".join(f"{share:.1f}" for share in shares[name]) for name in QUANTITIES)
    return f"| {kind} | {shown:.0f} | {steady:.0f} | " + " | ".join(cells) + " |"


def written():
    """What docs/statistics.md says: percent shown, steady, and of calls below and above."""
    text = DOC.read_text("utf-8")
    rows = re.findall(r"^\| (\d \+ \d, [^|]+?) \| ([^\n]+) \|$", text, re.MULTILINE)
    return {kind: np.array(re.findall(r"[\d.]+", cells), float) for kind, cells in rows}


@pytest.mark.parametrize("kind", KINDS)
def test_calls_are_as_rare_as_the_table_says(kind):
    known, runs = written()[kind], 40
    shown, steady, calls = measure(kind, runs)
    count = round(runs * steady / 100)
    for percent, share, of in ((shown, known[0], runs), (steady, known[1], runs)):
        low, high = likely(share / 100, of)
        assert low <= round(percent * of / 100) <= high
    for share in calls.values():
        assert (share * count / 100 <= binom.ppf(0.995, count, 0.03)).all()


def test_the_table_keeps_the_size():
    """One side at 95 %, with three standard deviations of what 2.5 % would give in as many runs."""
    assert set(written()) == set(KINDS)
    for kind, known in written().items():
        count = RUNS[kind] * known[1] / 100
        assert known[2:].max() <= 2.5 + 300 * np.sqrt(0.025 * 0.975 / count), kind


if __name__ == "__main__":
    for name in KINDS:
        print(row(name, RUNS[name], 1), flush=True)
