"""The paper's own models: do their clusters correlate with generalisation (LCRGS, section 5)?

McCoy, Min & Linzen (arXiv 1911.02969) fine-tuned one BERT on MNLI a hundred times and published the
accuracy of every run on MNLI's matched development set and on all of HANS. LCRGS joined these
models, and its code lists the twelve of the smaller cluster. Their accuracy in distribution is also
lower, so every association is also given at equal accuracy on MNLI.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from basins.errors import UserError
from basins.statistics.association import (
    auc,
    difference,
    interval,
    partial,
    pearson,
    permutation_p,
)
from basins.statistics.examples import mean_interval

SMALL = (15, 25, 26, 42, 44, 46, 56, 61, 63, 70, 73, 89)
"""The runs of the smaller cluster, after three epochs on MNLI (README of the paper's code)."""

IN_DOMAIN = "MNLI dev acc."
OVERALL = "Overall accuracy"
HEURISTICS = {"Lexical": "lexical overlap", "Subseq": "subsequence", "Constituent": "constituent"}
LABELS = {"entailed": "entailment", "nonent": "non-entailment"}


def read(file: Path) -> pd.DataFrame:
    """Return the accuracy, a share, of every run (index) on every set (columns, as published).

    Raises `UserError` if the file is missing or is not the published table.
    """
    try:
        cells = pd.read_csv(file, encoding="utf-8-sig", header=None, dtype=str)
        header = cells.iloc[0].to_list()
        table = cells.iloc[1:].set_axis(header, axis=1).loc[:, [name == name for name in header]]
        if not table.columns.is_unique:
            raise ValueError("two columns of one name")
        runs = table.pop("Run").str.extract(r"^Run ([0-9]{1,9})$")[0]
        count = int(runs.notna().sum())
        if runs.iloc[:count].isna().any():
            raise ValueError("a line among the runs that is none")  # a summary comes after them
        table = table.iloc[:count].astype(float)
        table.index = pd.Index(runs.iloc[:count].astype(int), name="run")
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; BASINS_DATA names the folder above it") from None
    except (KeyError, IndexError, ValueError) as error:
        what = " ".join(str(error).split())
        raise UserError(f"{file}: not the table of accuracies by run ({what:.200})") from None
    if absent := [name for name in (IN_DOMAIN, OVERALL) if name not in table]:
        raise UserError(f"{file}: no column {absent[0]!r}; it has: {', '.join(table):.200}")
    shares = table.to_numpy()
    if not len(table) or not table.index.is_unique or not ((shares >= 0) & (shares <= 1)).all():
        raise UserError(f"{file}: runs must be there once, with accuracies from 0 to 1")
    return table


def analyse(
    accuracies: pd.DataFrame,
    generator: np.random.Generator,
    *,
    small: tuple[int, ...] = SMALL,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Return a row for each set: the scores of all runs and both clusters, and the association.

    Args:
        accuracies: a share for every run (index) and set (column), as `read` returns them.
        generator: draws the permutations.
        small: the runs of the smaller cluster.
        resamples: the number of permutations for each p.
        confidence: the confidence of the intervals, which are over runs.

    Returns:
        `metric` is the published name, and `group`, `name`, `label` are the result of `group`; `n`
        and `n_small` count runs. `mean` and `sd` (divisor n) are of all runs; `large` and `small`
        are the means of the clusters, with t intervals. `r` is the point-biserial correlation with
        membership of the smaller cluster, `auc` how often its models have the lower value,
        `difference` its mean less that of the larger, and `partial` r given the accuracy in
        distribution. The interval of `r` is `r_low, r_high`, and so on. `p` is the permutation p of
        `r`, and `p_partial` that of `partial` (Freedman & Lane).

    Raises:
        UserError: a run of the smaller cluster is missing, no run is outside it, or a column is not
            a set of HANS or MNLI.
    """
    if absent := sorted(set(small) - set(accuracies.index)):
        raise UserError(f"published models: no run {absent[0]}, of the smaller cluster")
    member = accuracies.index.isin(small)
    if member.all():
        raise UserError("published models: no run outside the smaller cluster")
    in_domain = accuracies[IN_DOMAIN].to_numpy()
    rows = (
        _row(name, values.to_numpy(), member, in_domain, generator, resamples, confidence)
        for name, values in accuracies.items()
    )
    return pd.DataFrame(rows)


def group(metric: str) -> tuple[str, str, str]:
    """Return the group, name and gold label of a published column."""
    if metric == IN_DOMAIN:
        return "in domain", "MNLI, matched", ""
    if metric == OVERALL:
        return "overall", "HANS", ""
    heuristic, _, label = metric.partition(" (")
    if heuristic in HEURISTICS:
        return "heuristic", HEURISTICS[heuristic], LABELS[label.removesuffix(")")]
    code, _, name = metric.partition("_")
    heuristics = {name[0].lower(): called for name, called in HEURISTICS.items()}
    if len(code) != 2 or code[0] not in heuristics or code[1] not in "en":
        raise UserError(f"published models: {metric!r} is no subcase of HANS")
    label = "entailment" if code[1] == "e" else "non-entailment"
    return heuristics[code[0]], name.replace("_", " "), label


def _row(
    metric: Any,
    y: np.ndarray,
    small: np.ndarray,
    z: np.ndarray,
    generator: np.random.Generator,
    resamples: int,
    confidence: float,
) -> dict[str, Any]:
    of, name, label = group(metric)
    row: dict[str, Any] = {"metric": metric, "group": of, "name": name, "label": label}
    row |= {"n": len(y), "n_small": int(small.sum()), "mean": y.mean(), "sd": y.std()}
    for side, members in (("large", ~small), ("small", small)):
        row |= dict(_named(side, mean_interval(y[members], confidence)))
    member = small.astype(float)
    for key, statistic, arrays in (
        ("r", pearson, (member, y)),
        ("auc", auc, (small, y)),
        ("difference", difference, (small, y)),
        ("partial", partial, (member, y, z)),
    ):
        estimate = np.nan if key == "partial" and metric == IN_DOMAIN else statistic(*arrays)
        ends = interval(statistic, arrays, confidence)
        row |= dict(_named(key, (float(estimate), *ends)))
    row["p"] = permutation_p(pearson, member, y, generator, resamples)
    row["p_partial"] = permutation_p(partial, member, y, generator, resamples, given=z)
    return row


def _named(name: str, values: tuple[float, float, float]) -> Iterator[tuple[str, float]]:
    return zip((name, f"{name}_low", f"{name}_high"), values, strict=True)
