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
from basins.statistics.seeds import jackknife, leave_out
from tests.statistics import test_several as several
from tests.statistics import test_whole_clusters as whole

DOC = Path(__file__).parents[2] / "docs" / "statistics.md"
CONFIDENCE = 0.95
RUNS = 400
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


def called(low, high, p):
    """Whether below and above 0, by the interval alone and where p agrees: bool [2, 2]."""
    alone = np.array([high < 0, low > 0])
    held = alone.any() and not association.unconfirmed(p(), CONFIDENCE)
    return np.array([alone, alone & held])


def differs(small, scores, rng):
    ends = association.interval(association.difference, (small, scores), CONFIDENCE)
    given = association.difference, small, scores, rng, 199
    return called(*ends, lambda: association.permutation_p(*given))


def scored(gaps, scores, rng):
    """The r of the score that clusters have with scores of models."""
    x = clusters.score(gaps, rng)
    ends = association.interval(association.pearson, (x, scores), CONFIDENCE)
    return called(
        *ends, lambda: association.permutation_p(association.pearson, x, scores, rng, 199)
    )


def paired(gaps, scores, rng):
    """The r over pairs of gaps and differences of scores, as `strategy_gap` has it."""
    first, second = np.triu_indices(len(gaps), 1)
    pairs = gaps[first, second]

    def r(_, own):
        return association.pearson(pairs, np.abs(own[..., first] - own[..., second]))

    apart = np.abs(scores[first] - scores[second])

    def fisher(kept):
        return float(np.arctanh(np.corrcoef(pairs[kept], apart[kept])[0, 1]))

    found = leave_out(fisher, [first, second], CONFIDENCE)
    ends = found["ci_low"], found["ci_high"]
    return called(*ends, lambda: association.permutation_p(r, scores, scores, rng, 199))


def halved(few):
    """Clusters as they are, whatever the gaps: the `few` first models against the others."""
    return lambda gaps, scores, rng: differs(np.arange(len(scores)) < few, scores, rng)


# Where intervals alone are too narrow: what is called, its gaps and scores, and how many models.
NARROW = {
    "difference, 3 + 9": (halved(3), "no clusters, noise", "of two kinds", 12),
    "difference, 6 + 18": (halved(6), "no clusters, noise", "of two kinds", 24),
    "r of the score, two clusters": (scored, "clusters of 8 and 4", "of two kinds", 24),
    "r of the score, 2 far": (scored, "2 far", "with a long tail", 24),
    "r over pairs, 2 far": (paired, "2 far", "of two kinds", 24),
}


def narrow(name, runs, seed=0):
    """Percent called below and above 0 by the interval alone, and with permutations: [2, 2]."""
    call, kind, scores, count = NARROW[name]
    rng = np.random.default_rng([seed, count])
    found = [call(GAPS[kind](rng, count), SCORES[scores](rng, count), rng) for _ in range(runs)]
    return 100 * np.mean(found, axis=0)


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
            shares = [differs(small, draw(rng, count), rng)[1] for _ in range(again)]
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


def written():
    """What docs/statistics.md says: percent decided, and of these called below and above."""
    text = DOC.read_text("utf-8")
    known = dict(re.findall(r"^\| ([^|]+?) \| ([\d. /|]+ / [\d. /|]+) \|$", text, re.MULTILINE))
    rows = {kind: np.array(re.findall(r"[\d.]+", known[kind]), float) for kind in GAPS}
    assert {len(row) for row in rows.values()} == {1 + 2 * len(QUANTITIES)}
    return rows


@pytest.mark.parametrize(
    "kind", ["clusters of 9 and 3", "clusters of 6 and 6", "places on a line with noise"]
)
def test_calls_are_as_rare_as_the_table_says(kind):
    passed, runs = written()[kind][0], 40
    found, calls = measure(kind, runs)
    low, high = several.likely(passed / 100, runs)
    assert low <= round(found * runs / 100) <= high
    count = round(runs * found / 100)
    for share in calls.values():
        assert (share * count / 100 <= binom.ppf(0.995, count, 0.03)).all()


def test_the_table_keeps_the_size():
    """One side at 95 %, with three standard deviations of 2.5 % in as many draws."""
    for kind, known in written().items():
        count = RUNS * known[0] / 100
        repeated = 2 * len(SCORES) + 2  # quantities of scores, of which there are several draws
        for shares, draws in ((known[1 : 1 + repeated], AGAIN), (known[1 + repeated :], 1)):
            most = 2.5 + 300 * np.sqrt(0.025 * 0.975 / max(count * draws, 1))
            assert shares.max() <= most, kind
        if kind.startswith("no clusters") or "line" in kind:
            assert known[0] * known[1:].max() / 100 <= 0.5, kind  # of all draws


@pytest.mark.parametrize("name", NARROW)
def test_where_intervals_alone_are_too_narrow_permutations_keep_the_size(name):
    alone, both = narrow(name, 300) * 3
    most = binom.ppf(0.999, 300, 0.025)
    assert alone.max() > most >= both.max()


if __name__ == "__main__":
    for name in GAPS:
        print(row(name, RUNS, 1), flush=True)
    for name in NARROW:
        cells = (f"{below:.1f} / {above:.1f}" for below, above in narrow(name, 1200, 1))
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
