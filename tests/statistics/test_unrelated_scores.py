"""Verdicts about clusters where scores have nothing to do with them: docs/statistics.md.

Clusters are estimated inside: of gaps with and without clusters, verdicts are of those draws in
which clusters are shown, are the rows' and are steady.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from basins.statistics import association, clusters, structure
from basins.statistics.seeds import jackknife
from tests.statistics import test_several as several
from tests.statistics import test_whole_clusters as whole

DOC = Path(__file__).parents[2] / "docs" / "statistics.md"
CONFIDENCE = 0.95
AGAIN = 10
"""Draws of scores for every draw of gaps."""


def place(name, variation):
    draw, dimensions = several.PLACES[name]
    return lambda rng, n: several.distances(rng, draw(rng, n, dimensions), variation)


GAPS = {
    "clusters of 9 and 3": lambda rng, n: several.planted(rng, (n - 3, 3)),
    "clusters of 8 and 4": lambda rng, n: several.planted(rng, (n - 4, 4)),
    "clusters of 6 and 6": lambda rng, n: several.planted(rng, (n // 2, n // 2)),
    "no clusters, noise": several.NONE["noise, cv .33"],
    "no clusters, effects of models": several.NONE["effects of models, products"],
    "places on a line, exact": several.NONE["places on a line"],
    "places on a line with noise": several.NONE["places on a line, noise of cv .33"],
    "places on a plane, exact": several.NONE["places on a plane"],
    "places with heavy tails": place("Student's t, 3 degrees, on a line", 0.33),
    "2 far": place("uniform, 2 far, on a line", 0.33),
    "3 far, each in its direction": place("uniform, 3 far, on a plane", 0.33),
    "3 far in one direction": place("uniform, 3 far in one direction, on a plane", 0.33),
}
SCORES = {
    "normal": lambda rng, n: rng.normal(0.5, 0.1, n),
    "with a long tail": lambda rng, n: rng.beta(0.5, 2, n),
    "of two kinds": lambda rng, n: np.where(rng.random(n) < 0.3, 0.1, 0.9) + rng.normal(0, 0.03, n),
}
QUANTITIES = (*(f"difference, {kind}" for kind in SCORES), "smaller", *whole.QUANTITIES)


def gated(gaps, rng, draws=99):
    """The two clusters where claims about them apply and are steady, or None."""
    test = structure.several(gaps, rng, 1 - CONFIDENCE, draws)
    if not test.decides:
        return None
    labels = clusters.partition(gaps, 2, rng)
    steady = not structure.unsteady(gaps, 2, rng).any()
    return labels if steady and clusters.adjusted_rand(test.labels, labels) == 1 else None


def differs(small, scores, rng, alone=False):
    """Whether the smaller cluster is called lower and higher, by Welch's t `alone` or as claims."""
    low, high = association.interval(association.difference, (small, scores), CONFIDENCE)
    called = np.array([high < 0, low > 0])
    if alone or not called.any():
        return called
    p = association.permutation_p(association.difference, small, scores, rng, 199)
    return called & (not association.unconfirmed(p, CONFIDENCE))


def measure(kind, runs, seed=0, count=12, again=AGAIN):
    """Percent of draws with verdicts, and of these that say below and above the truth (0 or 1).

    Scores and values of pairs are drawn without regard to gaps, so every call is a wrong one.
    """
    rng, passed = np.random.default_rng([seed, count]), 0
    calls = {name: np.zeros(2) for name in QUANTITIES}
    for _ in range(runs):
        labels = gated(GAPS[kind](rng, count), rng)
        if labels is None:
            continue
        passed, small = passed + 1, labels > 0
        for name, draw in SCORES.items():
            shares = [differs(small, draw(rng, count), rng) for _ in range(again)]
            calls[f"difference, {name}"] += np.mean(shares, axis=0)
        own = np.flatnonzero(small)
        for scores in rng.normal(0.5, 0.1, (again, count)):
            mean = jackknife(scores[own], [own], CONFIDENCE, (0, 1))
            wrong = np.array([mean["ci_high"] < 0.5, mean["ci_low"] > 0.5])
            calls["smaller"] += wrong * mean["decides"] / again
        values = several.pairwise(several.noise(rng), count)
        for name, found in whole.intervals(rng, values, labels).items():
            truth = float(name != "mixtures apart")
            wrong = np.array([found["ci_high"] < truth, truth < found["ci_low"]])
            calls[name] += wrong & found["decides"]
    return 100 * passed / runs, {name: 100 * both / max(passed, 1) for name, both in calls.items()}


def row(kind, runs, seed):
    passed, calls = measure(kind, runs, seed)
    cells = (" / ".join(f"{share:.1f}" for share in calls[name]) for name in QUANTITIES)
    return f"| {kind} | {passed:.1f} | " + " | ".join(cells) + " |"
