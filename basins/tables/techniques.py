"""All merging techniques: family, requirements, results, and the mechanism that they keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from basins.figures import merges as figure
from basins.figures import rows, style
from basins.statistics.merges import averages, gains
from basins.tables.table import INTERVAL, Table, interval

NEEDS = {"base": "base", "rows": "rows", "labels": "labels", "gradients": "gradients"}
"""What a technique may need besides the networks: columns of its traits, and their names."""


def table(
    tables: Mapping[str, pd.DataFrame],
    *,
    cases: Annotated[dict[str, dict[str, str]], Field(min_length=1)],
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95,
) -> Table:
    """Return a row for each technique: its family, needs and cost, and its results in each case.

    A case has a `merge`, an `eval_set` in distribution and a `mechanism`, the set whose accuracy
    shows what a network relies on, and optionally an `alignment` and a `batchnorm` mode, by default
    the first. Its columns are the accuracy on both sets and, on the set of the mechanism, the
    accuracy less that of the ensemble of the same models, if there is one. The caption counts the
    techniques that mix weights whose interval of this difference excludes 0. Reads `merge/<merge>`
    and `merge/<merge>.techniques`.

    Args:
        tables: rows of `results/` by the name of their table.
        cases: the cases by their names.
        confidence: the confidence of the intervals over sets, between 0.5 and 1.

    Raises:
        UserError: a table is missing or has no such rows.
    """
    lines: dict[str, dict[str, Any]] = {}
    said = []
    for label, case in cases.items():
        merge, mechanism = case["merge"], case["mechanism"]
        known = rows.select(tables, f"merge/{merge}.techniques")
        for _, row in known.iterrows():
            lines.setdefault(str(row["technique"]), _about(row))
        results = _one(tables, case)
        level, less = averages(results, confidence), None
        if "deep_ensemble" in set(results["technique"]):
            less = gains(results, "deep_ensemble", confidence)
        columns = {
            f"{label}: {_short(case['eval_set'])} (%)": (level, case["eval_set"]),
            f"{label}: {_short(mechanism)} (%)": (level, mechanism),
            **({f"{label}: less the ensemble": (less, mechanism)} if less is not None else {}),
        }
        for column, (summary, eval_set) in columns.items():
            part = summary.loc[
                (summary["eval_set"] == eval_set) & (summary["metric"] == "accuracy")
            ]
            for _, row in part.iterrows():
                lines[row["technique"]][column] = interval(
                    "z.1f", *(100 * row[INTERVAL].astype(float))
                )
        if less is not None:
            said.append(_kept(less, mechanism, label, lines))
    frame = pd.DataFrame({"technique": name, **values} for name, values in lines.items())
    percent = f"{100 * confidence:g} %"
    return Table(
        "Merging techniques: requirements and results",
        f"Accuracies in percent with {percent} intervals over sets of models. "
        + " ".join(said)
        + " Needs: the network from which all were tuned (base), training rows, their labels, "
        "gradients on them; cost: passes over these rows for K networks and C classes.",
        frame.fillna(""),
    )


def _one(tables: Mapping[str, pd.DataFrame], case: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows of a case: one alignment, if weights are mixed, and one BatchNorm mode."""
    table = rows.select(tables, f"merge/{case['merge']}")
    wanted = {key: case.get(key, table[key].iloc[0]) for key in ("alignment", "batchnorm")}
    mode = table.loc[table["batchnorm"] == wanted["batchnorm"]]
    alone = mode.groupby("technique")["alignment"].transform("nunique") == 1
    return mode.loc[alone | (mode["alignment"] == wanted["alignment"])]


def _short(eval_set: str) -> str:
    return style.on(eval_set).removeprefix("the ")


def _about(row: pd.Series) -> dict[str, Any]:
    needs = [word for column, word in NEEDS.items() if row[column] in (True, "True")]
    return {
        "family": row["family"],
        "needs": ", ".join(needs) or "nothing",
        "cost": row["cost"],
    }


def _kept(less: pd.DataFrame, mechanism: str, label: str, lines: Mapping[str, Any]) -> str:
    """State how many techniques that mix weights rely on other features than the ensemble."""
    family = less["technique"].map(lambda name: lines[name]["family"])
    mixing = family.isin(("aggregation", "alignment"))
    part = less.loc[(less["eval_set"] == mechanism) & (less["metric"] == "accuracy") & mixing]
    apart = part.loc[(part["ci_low"] > 0) | (part["ci_high"] < 0), "technique"]
    names = ", ".join(map(figure.called, apart))
    return (
        f"{label}: {len(apart)} of {len(part)} techniques that mix weights rely on other features "
        "than the ensemble of the same networks: the interval of the difference in accuracy on "
        f"{style.on(mechanism)} excludes 0{f' ({names})' if names else ''}."
    )
