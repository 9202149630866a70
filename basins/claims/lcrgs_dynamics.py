"""Claims of LCRGS about training: how early models are apart, and whether they stay so.

Options name settings: `experiment` joins models early in training, `final` the same at its end.
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
    "Early in training, models that will end in different clusters are apart already."
)
@measure(DYNAMICS, parted)
def apart(results: Results, *, experiment: str, final: str, eval_set: str, column: str) -> Measured:
    """Return by how much larger an early gap is between the final clusters than within."""
    rows = _early(results, experiment, final, eval_set)
    words = f"{column} {on(rows)}, between the clusters of {final} less within"
    return Measured(f"{words}, at equal effects of models", results.between(rows, column, final))


@part.above("c9_grows", "dynamics of the clusters").says(
    "Clusters separate further as training goes on."
)
@measure(ENDS, parted)
def grows(results: Results, *, experiment: str, final: str, eval_set: str) -> Measured:
    """Return how much more gaps grow between the final clusters, which come from them, than within.

    Clusters at the end part the gaps of the end better than any others, so this is above 0 by
    noise, too.
    """
    rows = pair_types(*_clustered_late(results, experiment, final, eval_set))
    between = rows["pair_type"] == BETWEEN
    interval = results.contrast(rows.loc[between], rows.loc[~between], "growth")
    interval |= {"decides": False, "note": "the clusters come from gaps that are in the difference"}
    words = f"mean growth of the convexity_gap {on(rows)} until {final}"
    return Measured(f"{words}, between its clusters less within", interval)


@part.above("c9_trapped", "dynamics of the clusters").says(
    "Models stay where they are: two that share a cluster early, or do not, end that way."
)
@measure(ENDS, parted)
def trapped(results: Results, *, experiment: str, final: str, eval_set: str) -> Measured:
    """Return the share of pairs whose clusters agree early and late (Rand).

    Two clusters of chance agree in half of the pairs or more, and models change theirs together.
    """
    rows = pair_types(*_clustered_late(results, experiment, final, eval_set))
    early = results.clusters(experiment)
    together = rows["model_a"].map(early.get) == rows["model_b"].map(early.get)
    rows["value"] = (together == (rows["pair_type"] != BETWEEN)).astype(float)
    interval = results.mean(rows, bounds=SHARE)
    note = "clusters are made anew with every seed, which an interval over seeds does not see"
    words = f"mean share of pairs whose clusters agree early and late (Rand), {experiment}, {final}"
    return Measured(words, interval | {"decides": False, "note": note})


@part.above("c9_growth", "beside the dynamics", kind="ours").says(
    "Models move apart as training goes on."
)
@measure(DYNAMICS)
def growth(results: Results, *, experiment: str, final: str, eval_set: str) -> Measured:
    """Return how much the convexity gap grows, of all pairs."""
    rows = _early(results, experiment, final, eval_set)
    words = f"mean growth of the convexity_gap {on(rows)} until {final}, all pairs"
    return Measured(words, results.mean(rows, "growth"))


@part.above("c9_correlation", "beside the dynamics", kind="ours").says(
    "Which models are apart early tells which are apart at the end.",
    confound="a model that is far from all others, early and late, is enough for it",
)
@measure(DYNAMICS)
def early_and_late(results: Results, *, experiment: str, final: str, eval_set: str) -> Measured:
    """Return r over pairs of the early and the final convexity gap, a seed left out in turn."""
    rows = _early(results, experiment, final, eval_set)
    first, last = rows["convexity_gap"].to_numpy(), rows["final"].to_numpy()
    words = f"r over pairs of the convexity_gap {on(rows)} with that of {final}"
    return Measured(words, correlation(results, rows, first, last))


def _early(results: Results, experiment: str, final: str, eval_set: str) -> pd.DataFrame:
    """Return the pairs of an early experiment with their `final` gap, and its `growth` until."""
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
    """Return the seeds of each pair in one order, whichever model comes first on the path."""
    models = rows[["model_a", "model_b"]].to_numpy()
    return [tuple(sorted(model.rpartition("/")[2] for model in pair)) for pair in models]
