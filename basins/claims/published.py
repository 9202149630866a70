"""Numbers that *Mechanistic Mode Connectivity* reports (Tables 1 and 4), compared with ours."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import isfinite, nan
from typing import Annotated, NamedTuple

import pandas as pd
from pydantic import Field

SETS = ("nc", "c", "rc", "ri")
SCRATCH = (47.5, nan, nan, nan)

PUBLISHED = {
    "cifar10": {
        "60": {
            "medium": (75.7, 98.4, 23.6, 83.4),
            "small": (75.8, 98.7, 17.5, 90.1),
            "llrt": (71.6, 95.1, 36.3, 57.1),
            "lpft": (70.6, 88.1, 21.0, 70.7),
            "cbft": (74.1, 71.5, 73.4, 8.75),
            "scratch": SCRATCH,
        },
        "70": {
            "medium": (75.8, 98.6, 27.7, 78.6),
            "small": (74.9, 98.8, 16.3, 91.1),
            "llrt": (70.9, 95.8, 29.9, 65.8),
            "lpft": (69.6, 87.3, 18.7, 72.5),
            "cbft": (73.2, 69.2, 72.3, 8.60),
            "scratch": SCRATCH,
        },
        "80": {
            "medium": (71.3, 97.7, 37.6, 63.6),
            "small": (69.9, 98.4, 15.7, 90.9),
            "llrt": (65.1, 81.8, 27.0, 53.2),
            "lpft": (64.4, 63.8, 18.8, 48.0),
            "cbft": (70.0, 70.0, 69.5, 9.68),
            "scratch": SCRATCH,
        },
        "90": {
            "medium": (67.2, 95.4, 49.6, 46.6),
            "small": (64.7, 97.9, 15.3, 90.7),
            "llrt": (59.3, 70.7, 24.6, 40.7),
            "lpft": (59.7, 56.6, 19.8, 37.8),
            "cbft": (67.9, 72.5, 68.1, 13.1),
            "scratch": SCRATCH,
        },
    },
    "cifar100": {
        "90": {
            "small": (nan, nan, nan, 30.9),
            "lpft": (nan, nan, nan, 19.6),
            "cbft": (nan, nan, nan, 46.0),
        },
    },
}
"""Accuracy (%) as published, by dataset, cue proportion (%) and method, on `SETS`.

Means of three seeds. Table 1 on CIFAR-10: the authors' ICML 2023 poster; CIFAR-100 and Table 4
(from scratch, whatever the proportion): as quoted from the paper by others. NaN: not known.
"""

Cell = Annotated[str, Field(pattern=r"^cifar100?/\d+$")]
"""A dataset and its cue proportion in percent: `cifar10/80`."""


def reported(cell: Cell | None, method: str, eval_set: str) -> float | None:
    """Return the published accuracy (a share) of a method's models on a set, if it is known."""
    dataset, _, proportion = (cell or "/").partition("/")
    row = PUBLISHED.get(dataset, {}).get(proportion, {}).get(method)
    value = row[SETS.index(eval_set)] / 100 if row else nan
    return value if isfinite(value) else None


def less(first: float | None, second: float | None) -> float | None:
    """Return the difference of two published numbers where both are known."""
    return None if first is None or second is None else first - second


Percent = Annotated[str, Field(pattern=r"^\d+(\.\d+)?$")]
"""A proportion of the cue, in percent, as `PUBLISHED` has it."""


class Agreement(NamedTuple):
    """How many of our numbers agree with the published ones, of those that can be compared.

    `matched` of `cells` published numbers lie in our interval over seeds. Of the `pairs` of methods
    with one proportion, on one set, `ordered` have their means in the published order.
    """

    matched: int
    cells: int
    ordered: int
    pairs: int


def beside(
    means: pd.DataFrame, models: Mapping[str, Mapping[str, str]], dataset: str
) -> pd.DataFrame:
    """Return our numbers with the published ones, a row for each proportion, method and set.

    Args:
        means: accuracies as `summary/probes` has them, of all `models`.
        models: recipes by proportion (%) and method.
        dataset: the dataset of the published numbers; unknown datasets have none.

    Returns:
        `proportion, method, set`; our `mean, ci_low, ci_high` and `seeds`, and the `published`
        value (shares of 1); whether our interval contains it (`matches`); and `rank` and
        `rank_published`, the method's rank, from the highest, among those of its proportion and
        set that have a published number. Unknown values are NaN.
    """
    known = means.set_index(["recipe", "slice"])[["mean", "ci_low", "ci_high", "seeds"]]
    made = pd.DataFrame(
        {"proportion": proportion, "method": method, "set": eval_set}
        | {**known.loc[(recipe, eval_set)]}
        | {"published": reported(f"{dataset}/{proportion}", method, eval_set)}
        for proportion, recipes in models.items()
        for method, recipe in recipes.items()
        for eval_set in SETS
    ).astype({"published": float, "seeds": int})
    ranked = made.assign(mean=made["mean"].where(made["published"].notna()))
    ranked = ranked.groupby(["proportion", "set"])[["mean", "published"]].rank(ascending=False)
    matches = made["published"].between(made["ci_low"], made["ci_high"])
    return made.assign(matches=matches, rank=ranked["mean"], rank_published=ranked["published"])


def agreement(made: pd.DataFrame) -> Agreement:
    """Return how far rows of `beside` agree with the published numbers and their order."""
    known = made.loc[made["published"].notna()]
    signs = [
        (one["mean"] - other["mean"]) * (one["published"] - other["published"])
        for _, cell in known.groupby(["proportion", "set"])
        for one, other in combinations(cell.to_dict("records"), 2)
    ]
    matched, cells = (sum(map(bool, c)) for c in (known["matches"], known["ci_low"].notna()))
    return Agreement(matched, cells, sum(s > 0 for s in signs), len(signs))
