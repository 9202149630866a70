"""Claims held against planted rows: a clear effect on either side of a threshold, and none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from basins.claims.ledger import Paper, entries
from basins.claims.registration import Registration
from basins.claims.results import Results

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
    results = Results(tables, confidence)
    (entry,) = entries(paper, results, {"key": setting}, Registration())
    return entry


def effect(side: str, verdict: str) -> tuple[float, np.ndarray]:
    """Return the effect that a claim of this side must have for a verdict at .3, and its spread."""
    if verdict == "inconclusive":
        return THRESHOLD, WIDE
    low = (verdict == "supported") == (side != "above")
    return (0.1 if low else 0.6), SPREAD


def choice(experiment: str, p: float, n: int = SEEDS) -> pd.DataFrame:
    """Return the row of the test for clusters."""
    row = {"experiment": experiment, "measure": "convexity_gap", "statistic": "chosen"}
    low = 1.0 if n > 6 else np.nan  # of few models, the rows have no interval
    return pd.DataFrame([{**row, "estimate": 2.0, "ci_low": low, "ci_high": low, "p": p, "n": n}])
