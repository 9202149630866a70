"""How often clusters are shown where there are none, and where there are: docs/statistics.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from basins.statistics import clusters

DOC = Path(__file__).parents[2] / "docs" / "statistics.md"
COUNTS = (12, 16, 24)


def pairwise(draw, count):
    upper = np.triu(draw((count, count)), 1)
    return upper + upper.T


def noise(rng, variation=0.33):
    return lambda size: rng.gamma(variation**-2, variation**2, size)


def of_models(rng, count, join, spread):
    own = spread(rng, count)
    return join(own[:, None], own) * pairwise(noise(rng), count)


def line(rng, count, least=0.0, variation=0.0, dimensions=1):
    places = rng.uniform(size=(count, dimensions))
    gaps = least + np.linalg.norm(places[:, None] - places, axis=-1)
    return gaps * pairwise(noise(rng, variation), count) if variation else gaps


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
    "clusters' gaps, dealt anew": lambda rng, n: clusters.permuted(
        planted(rng, (n - 4, 4)), 1, rng
    )[0],
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


def measure(kind, count, runs, seed=0, draws=99):
    """In how many runs are there clusters? Percent."""
    rng, make = np.random.default_rng([seed, count]), {**NONE, **SOME}[kind]
    shown = sum(clusters.several(make(rng, count), rng, 0.05, draws).decides for _ in range(runs))
    return 100 * shown / runs


if __name__ == "__main__":
    print("| gaps | " + " | ".join(map(str, COUNTS)) + " |")
    for name in (*NONE, *SOME):
        cells = " | ".join(f"{measure(name, count, 300, 1):.1f}" for count in COUNTS)
        print(f"| {name} | {cells} |", flush=True)
