"""Rows of the SoK's aspects, and of barriers, as its claims take them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from basins.claims.ledger import Measured
from basins.claims.results import ANY, Bounds, Results


def experiment_of(results: Results, aspect: str) -> str:
    """Return the experiment that clustered the models of an aspect."""
    rows = results.rows(f"aspects/{aspect}")
    clusters = results.rows("clusters", measure="convexity_gap")
    known = {str(name): {*part["model"]} for name, part in clusters.groupby("experiment")}
    models = {m for part in rows["models"].dropna() for m in str(part).split(" + ")}
    shared = {name: len(models & part) for name, part in known.items()}
    return max(shared, key=lambda name: (shared[name], -len(known[name])))


def lines(results: Results, aspect: str, quantity: str) -> pd.DataFrame:
    """Return a quantity of the straight lines between clustered models, with the two of each."""
    sides = (results.aspect(aspect, "A1", quantity, group=g) for g in ("between", "within"))
    rows = pd.concat(sides)
    return rows.assign(**dict(zip(("model_a", "model_b"), ends(rows), strict=True)))


def ends(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the second model of every row of two."""
    pairs = rows["models"].str.split(" + ", n=1, regex=False)
    return pairs.str[0].to_numpy(object), pairs.str[1].to_numpy(object)


def whole(
    results: Results,
    words: str,
    rows: pd.DataFrame,
    needs: str,
    bounds: Bounds = ANY,
    rough: str = "",
) -> Measured:
    """Return the value of the largest set of models; leaving one out gives the rows without it.

    Args:
        results: the rows.
        words: what the value is.
        rows: a row for all models, and one for all but each.
        needs: what there must be, in words.
        bounds: what the value cannot leave.
        rough: why the value is no smooth function of the models, where it is none.
    """
    values = rows["value"].to_numpy()
    sizes = rows["models"].str.count(r" \+ ").to_numpy(int)

    def largest(kept: np.ndarray) -> float:
        return float(values[np.where(kept, sizes, -1).argmax()]) if kept.any() else np.nan

    return Measured(words, results.leave_out(largest, rows, bounds, rough), needs=needs)


def lowered(
    results: Results,
    words: str,
    eval_set: str,
    usual: tuple[str, dict[str, str]],
    other: tuple[str, dict[str, str]],
) -> Measured:
    """Return how much lower the loss barrier of the same pairs is by another choice of columns.

    Args:
        results: the rows.
        words: what the difference is.
        eval_set: what the loss is measured on.
        usual: an experiment, and the values of columns.
        other: those of the barrier that is taken off.
    """
    names = ["model_a", "model_b"]
    one, two = (
        results.pairs(experiment, eval_set, **{"batchnorm": "reset", **ids})[
            [*names, "barrier_linear"]
        ]
        for experiment, ids in (usual, other)
    )
    both = one.merge(two, on=names, suffixes=("", "_other"), validate="one_to_one")
    both["value"] = both["barrier_linear"] - both["barrier_linear_other"]
    return Measured(f"mean {words}", results.mean(both), needs="pairs that both have")
