"""Claims about merges: what they rely on, and how much of several tasks' accuracy they keep.

Two techniques are compared on the same sets of networks. Sets share no network, so each set is a
unit, like a seed elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pandas as pd

from basins.claims.ledger import Measured, Paper, Shown, measure
from basins.claims.results import DIFFERENCE, EvalSet, Interval, Results
from basins.errors import UserError

part = Paper("sok", "its merging techniques", "ours")
MERGES = Shown(("merges",), ("merges",), ("merge/{merge}",))
WHERE = "merging techniques, operationalised here by what they rely on"
TASKS = "merging techniques, operationalised here by the accuracy on several tasks"


@part.above("merge_relies", WHERE).says(
    "An ensemble relies on a feature more than the average of the same networks' weights does."
)
@part.within("merge_equal", WHERE).says(
    "An ensemble of networks and the average of their weights are equally accurate."
)
@measure(MERGES)
def ensemble_less_average(
    results: Results,
    *,
    merge: str,
    eval_set: EvalSet,
    batchnorm: Literal["reset", "interpolate", "repair"] = "reset",
) -> Measured:
    """Return by how much an ensemble is more accurate than a weight average of the same networks.

    Args:
        results: the rows.
        merge: one of `merge`.
        eval_set: what accuracy is measured on.
        batchnorm: the mode of the BatchNorm statistics of the average.
    """
    techniques = ("deep_ensemble", "uniform_soup")
    words = f"accuracy on {eval_set.upper()} of the ensemble, less that of the average ({merge})"
    interval = _less(results, merge, techniques, [eval_set], batchnorm)
    return Measured(f"mean {words}", interval)


@part.above("tasks_better", TASKS, reference="uniform_soup").says(
    "A technique for merging models of several tasks keeps more of their accuracy than the plain "
    "average of their weights does."
)
@part.below("tasks_lost", TASKS, technique="uniform_soup", reference="single").says(
    "The plain average of models of several tasks is worse on them than each is on its own."
)
@measure(MERGES)
def over_tasks(
    results: Results, *, merge: str, technique: str, reference: str, eval_sets: list[str]
) -> Measured:
    """Return the mean accuracy over tasks of a technique, less that of a reference.

    Args:
        results: the rows.
        merge: one of `merge`, of models of several tasks.
        technique: one of its techniques.
        reference: the technique that it is compared with.
        eval_sets: a set of each task, `<task>/<set>`.
    """
    words = f"accuracy over {', '.join(eval_sets)} of {technique}, less that of {reference}"
    interval = _less(results, merge, (technique, reference), eval_sets, "interpolate")
    return Measured(f"mean {words} ({merge})", interval)


def _less(
    results: Results,
    merge: str,
    techniques: tuple[str, str],
    eval_sets: Sequence[str],
    batchnorm: str,
) -> Interval:
    """Return the mean accuracy over some sets of the first technique, less that of the second."""
    usual = results.rows(f"merge/{merge}", alignment="none", batchnorm=batchnorm)

    def accuracy(technique: str) -> pd.Series:
        own = usual.loc[usual["technique"] == technique]
        by_set = own.pivot(index="set", columns="eval_set", values="accuracy")
        if lacking := [name for name in eval_sets if name not in by_set]:
            raise UserError(f"merge/{merge} has no {technique} on {', '.join(lacking)}")
        return by_set[[*eval_sets]].mean(axis="columns")

    first, second = map(accuracy, techniques)
    return results.over_seeds((first - second).dropna(), DIFFERENCE)
