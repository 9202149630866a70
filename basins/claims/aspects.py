"""Select rows of aspects and barriers for the claims about the SoK."""

from __future__ import annotations

import numpy as np
import pandas as pd

from basins.claims.ledger import Measured
from basins.claims.results import ANY, Bounds, Results


def experiment_of(results: Results, aspect: str) -> str:
    """Return the experiment in which the models of an aspect were clustered."""
    rows = results.rows(f"aspects/{aspect}")
    clusters = results.rows("clusters", measure="convexity_gap")
    known = {str(name): {*part["model"]} for name, part in clusters.groupby("experiment")}
    models = {m for part in rows["models"].dropna() for m in str(part).split(" + ")}
    shared = {name: len(models & part) for name, part in known.items()}
    return max(shared, key=lambda name: (shared[name], -len(known[name])))


def lines(results: Results, aspect: str, quantity: str) -> pd.DataFrame:
    """Return a quantity of the straight lines between clustered models, with both models."""
    sides = (results.aspect(aspect, "A1", quantity, group=g) for g in ("between", "within"))
    rows = pd.concat(sides)
    return rows.assign(**dict(zip(("model_a", "model_b"), ends(rows), strict=True)))


def ends(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the second model of each row of a pair."""
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
    """Return the value for the largest set of models; its interval leaves out each model in turn.

    Args:
        results: the rows.
        words: what the value is.
        rows: a row for all models, and one for all models but each.
        needs: what must exist, in words.
        bounds: the range of the value.
        rough: why the value is not a smooth function of the models, if it is not.
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
    """Return by how much the loss barrier of the same pairs is lower under another choice.

    Args:
        results: the rows.
        words: what the difference is.
        eval_set: what the loss is measured on.
        usual: an experiment, and the values of its columns.
        other: the same for the barrier that is subtracted.
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
