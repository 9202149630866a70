"""Claims of LCRGS about training: how early models separate, and whether they stay separate.

Options refer to settings: `experiment` joins models early in training, `final` the same at its end.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from basins.claims.ledger import Measured, Paper, Shown, measure
from basins.claims.pairs import BETWEEN, correlation, on, parted
from basins.claims.results import SHARE, Results
from basins.errors import UserError
from basins.statistics.cluster_rows import pair_types

part = Paper("lcrgs", "the dynamics of its clusters")
DYNAMICS = Shown(("dynamics",), (), ("barriers",))
ENDS = DYNAMICS._replace(rows=("barriers", "clusters"))


@part.above("c9_apart", "dynamics of the clusters", column="convexity_gap").says(
    "Models that end in different clusters are already further apart early in training."
)
@measure(DYNAMICS, parted)
def apart(results: Results, *, experiment: str, final: str, eval_set: str, column: str) -> Measured:
    """Return by how much larger an early gap is between the final clusters than within."""
    rows = _early(results, experiment, final, eval_set)
    words = f"{column} {on(rows)}, between the clusters of {final} less within"
    return Measured(f"{words}, adjusted for models", results.between(rows, column, final))


@part.above("c9_grows", "dynamics of the clusters").says(
    "Clusters separate further as training continues."
)
@measure(ENDS, parted)
def grows(results: Results, *, experiment: str, final: str, eval_set: str) -> Measured:
    """Return how much more gaps grow between the final clusters than within.

    The final clusters come from the final gaps, so noise alone makes this positive.
    """
    rows = pair_types(*_clustered_late(results, experiment, final, eval_set))
    between = rows["pair_type"] == BETWEEN
    interval = results.contrast(rows.loc[between], rows.loc[~between], "growth")
    interval |= {"decides": False, "note": "the clusters come from gaps that are compared"}
    words = f"mean growth of the convexity_gap {on(rows)} until {final}"
    return Measured(f"{words}, between its clusters less within", interval)


@part.above("c9_trapped", "dynamics of the clusters").says(
    "Models stay in their clusters: pairs that share a cluster early in training share one at its "
    "end, and others do not."
)
@measure(ENDS, parted)
def trapped(results: Results, *, experiment: str, final: str, eval_set: str) -> Measured:
    """Return the share of pairs whose clusters agree early and late (Rand index).

    Two random divisions agree in half of the pairs or more, and models do not change clusters
    independently.
    """
    rows = pair_types(*_clustered_late(results, experiment, final, eval_set))
    early = results.clusters(experiment)
    together = rows["model_a"].map(early.get) == rows["model_b"].map(early.get)
    rows["value"] = (together == (rows["pair_type"] != BETWEEN)).astype(float)
    interval = results.mean(rows, bounds=SHARE)
    note = "clusters change with every seed, which an interval over seeds does not include"
    words = f"mean share of pairs whose clusters agree early and late (Rand), {experiment}, {final}"
    return Measured(words, interval | {"decides": False, "note": note})


@part.above("c9_growth", "related to the dynamics", kind="ours").says(
    "Models move further apart as training continues."
)
@measure(DYNAMICS)
def growth(results: Results, *, experiment: str, final: str, eval_set: str) -> Measured:
    """Return how much the convexity gap grows, over all pairs."""
    rows = _early(results, experiment, final, eval_set)
    words = f"mean growth of the convexity_gap {on(rows)} until {final}, all pairs"
    return Measured(words, results.mean(rows, "growth"))


@part.above("c9_correlation", "related to the dynamics", kind="ours").says(
    "The gaps between models early in training predict the gaps at its end.",
    confound="a single model that is far from all others, early and late, produces such a "
    "correlation",
)
@measure(DYNAMICS)
def early_and_late(results: Results, *, experiment: str, final: str, eval_set: str) -> Measured:
    """Return r over pairs of the early and the final convexity gap (jackknife over seeds)."""
    rows = _early(results, experiment, final, eval_set)
    first, last = rows["convexity_gap"].to_numpy(), rows["final"].to_numpy()
    words = f"r over pairs of the convexity_gap {on(rows)} with that of {final}"
    return Measured(words, correlation(results, rows, first, last))


def _early(results: Results, experiment: str, final: str, eval_set: str) -> pd.DataFrame:
    """Return the pairs of an early experiment with their `final` gap and its `growth`."""
    rows, later = (results.pairs(name, eval_set) for name in (experiment, final))
    known = dict(zip(_seeds(later), later["convexity_gap"], strict=True))
    rows = rows.assign(final=[known.get(pair, np.nan) for pair in _seeds(rows)])
    rows = rows.loc[rows["final"].notna()]
    if rows.empty:
        raise UserError(f"{experiment} and {final} have no seeds in common")
    return rows.assign(growth=rows["final"] - rows["convexity_gap"])


def _clustered_late(
    results: Results, experiment: str, final: str, eval_set: str
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the pairs of an early experiment, and its models' clusters in the `final` one."""
    rows = _early(results, experiment, final, eval_set)
    at_end = {m.rpartition("/")[2]: label for m, label in results.clusters(final).items()}
    models = pd.unique(rows[["model_a", "model_b"]].to_numpy().ravel())
    return rows, {model: at_end[model.rpartition("/")[2]] for model in models}


def _seeds(rows: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the sorted seeds of each pair, whichever model comes first on the path."""
    models = rows[["model_a", "model_b"]].to_numpy()
    return [tuple(sorted(model.rpartition("/")[2] for model in pair)) for pair in models]
