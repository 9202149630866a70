"""What the report of a profile shows, gathered from its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from basins.report.page import Table

PAIR = ["experiment", "recipe_a", "recipe_b", "init", "alignment", "batchnorm"]


def headline(claims: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one sentence a claim: what it says, what was found, what that decides."""
    return [
        f"{claim['statement']} {claim['verdict'].capitalize()}: {claim['statistic']} is "
        f"{claim['estimate']:.3f} [{claim['ci_low']:.3f}, {claim['ci_high']:.3f}], "
        f"threshold {claim['threshold']:g}, {claim['n']} seeds."
        for claim in claims
    ]


def accuracy(tables: Mapping[str, pd.DataFrame]) -> Table:
    """Return accuracy (%) by recipe and counterfactual set, with its interval over seeds."""
    rows = tables["summary/probes"].query("metric == 'accuracy'")
    frame = _percent(rows, ["recipe", "slice"], ["seeds"])
    return Table(
        "Accuracy on the counterfactual sets",
        "Percent, with 95 % intervals over seeds: nc without cue, c with its class's cue, rc with "
        "a random cue, ri a random image with the label's cue.",
        frame,
    )


def barriers(tables: Mapping[str, pd.DataFrame]) -> Table:
    """Return the linear barrier of the error (points) by pair of recipes and set."""
    chosen = "metric == 'error' and definition == 'barrier_linear'"
    rows = tables["summary/barriers"].query(chosen)
    frame = _percent(rows, [*PAIR, "eval_set"], ["seeds", "pairs"])
    return Table(
        "Barriers of the error along the paths",
        "Percentage points above the chord (barrier_linear), with 95 % intervals over seeds.",
        frame,
    )


def _percent(rows: pd.DataFrame, before: list[str], after: list[str]) -> pd.DataFrame:
    """Return the columns `before`, mean and interval in percent, and the columns `after`."""
    interval = ["mean", "ci_low", "ci_high"]
    return pd.concat([rows[before], 100 * rows[interval], rows[after]], axis="columns")
