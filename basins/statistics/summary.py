"""From the rows of all models and pairs to the tables that average them over seeds."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import pandas as pd

from basins.landscape.barriers import BARRIERS
from basins.statistics import invariance
from basins.statistics.paths import on_common_points
from basins.statistics.seeds import summarise_models, summarise_pairs

MODEL = ["recipe", "diagnostic", "slice", "metric"]
JOIN = ["experiment", "path", "alignment", "batchnorm", "eval_set"]
DEBIASED = ("barrier_split", "gap_split")
_PAIR = ("experiment", "model_a", "model_b", "path", "alignment", "batchnorm")
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "paths": (*_PAIR, "t", "eval_set", "n", "loss", "loss_se", "accuracy"),
    "barriers": (*_PAIR, "eval_set", "metric", *BARRIERS, "distance"),
    "probes": (
        "recipe",
        "seed",
        "diagnostic",
        "slice",
        "metric",
        "value",
        "n",
        "ci_low",
        "ci_high",
    ),
}
"""What the three tables have at least, also in a profile that has no paths or no probes."""


def summarise(
    paths: pd.DataFrame,
    barriers: pd.DataFrame,
    probes: pd.DataFrame,
    trained_on: Mapping[str, Hashable],
    confidence: float,
) -> dict[str, pd.DataFrame]:
    """Return, by name, the tables that are computed from three others (docs/formats.md).

    Args:
        paths: rows of points of the paths between pairs.
        barriers: rows of pairs.
        probes: rows of models on diagnostics.
        trained_on: what the models of each recipe were trained on, for `invariance.pairs`.
        confidence: the confidence of the intervals over seeds.
    """
    known = invariance.pairs(barriers, probes, trained_on)
    curves, points = on_common_points(paths, JOIN), [*JOIN, "t"]
    measured = [*JOIN, "metric"]
    definitions = [*BARRIERS, *(name for name in DEBIASED if name in barriers)]
    return {
        "invariance": known,
        "summary/paths": summarise_pairs(
            curves, points, ["loss", "accuracy"], "metric", confidence
        ),
        "summary/barriers": summarise_pairs(
            barriers, measured, definitions, "definition", confidence
        ),
        "summary/probes": summarise_models(probes, MODEL, confidence),
        "summary/invariance": invariance.summarise(known, confidence),
    }
