"""Claims held against planted rows: a clear effect on either side of a threshold, and none."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from basins.claims.ledger import Paper, entries
from basins.claims.registration import Registration
from basins.claims.results import Results
from basins.statistics.structure import Several

SEEDS = 12
SPREAD = 0.01 * np.array([1, -1, 0, 1, -1, 0, 0, 1, -1, 0.5, -0.5, 0])  # what each model adds
WIDE = 40 * SPREAD
THRESHOLD = 0.3
VERDICTS = ("supported", "contradicted", "inconclusive")


def decide(
    paper: Paper,
    name: str,
    options: dict[str, Any],
    tables: dict[str, pd.DataFrame],
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Return the entry of one claim, whose options are checked first."""
    setting = {"name": name, **options}
    paper.claims[name].check(setting, name)
    results = Results(tables, confidence, {"nli": "test", "own": "test"})
    (entry,) = entries(paper, results, {"key": setting}, Registration())
    return entry


def effect(side: str, verdict: str) -> tuple[float, np.ndarray]:
    """Return the effect that a claim of this side must have for a verdict at .3, and its spread."""
    if verdict == "inconclusive":
        return THRESHOLD, WIDE
    low = (verdict == "supported") == (side != "above")
    return (0.1 if low else 0.6), SPREAD


def show(monkeypatch: Any, decides: bool = True, note: str = "") -> None:
    """Let the clusters of any experiment that the rows have be shown, or not."""

    def several(results: Results, experiment: str) -> Several:
        labels = np.array([*results.clusters(experiment).values()])
        return Several(2, labels, 0.01, 3.0, 4.0, 0.5, decides, note)

    def gaps(results: Results, experiment: str) -> pd.DataFrame:
        return parted([*results.clusters(experiment).values()], [*results.clusters(experiment)])

    monkeypatch.setattr(Results, "several", several)
    monkeypatch.setattr(Results, "gaps", gaps)


def parted(labels: Sequence[int], models: Sequence[str], ratio: float = 5.0) -> pd.DataFrame:
    """Return pairs of models with convexity gaps that part them by their labels."""
    noise = np.random.default_rng(0)
    rows = [
        {
            "model_a": models[a],
            "model_b": models[b],
            "convexity_gap": (ratio if labels[a] != labels[b] else 1.0) * noise.uniform(0.9, 1.1),
        }
        for a, b in combinations(range(len(models)), 2)
    ]
    return pd.DataFrame(rows)
