"""Every merging technique beside the best of the models and their ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Annotated

import pandas as pd
from pydantic import Field

from basins.figures import rows, style
from basins.statistics.merges import CHOICE, averages, gains
from basins.tables.table import Table

REFERENCES = {
    "best": "best model",
    "deep_ensemble": "ensemble",
    "single": "single models",
    "together": "training on all",
}


def table(
    tables: Mapping[str, pd.DataFrame],
    *,
    merge: str,
    alignments: Annotated[list[str], Field(min_length=1)] | None = None,
    batchnorm: Annotated[list[str], Field(min_length=1)] | None = None,
    eval_sets: Annotated[list[str], Field(min_length=1)] | None = None,
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95,
) -> Table:
    """Return a row a technique, alignment and BatchNorm mode of one merge.

    Its loss on the first evaluation set, in domain, also less that of the references on the same
    models, and its accuracy on all sets. Reads `merge/<merge>`.

    Args:
        tables: rows of `results/` by the name of their table.
        merge: one of `merge`.
        alignments: those that are shown, 1 or more; None shows all.
        batchnorm: the modes that are shown, 1 or more; None shows all.
        eval_sets: those that are shown, 1 or more, the one in domain first; None shows all.
        confidence: the confidence of the intervals, between 0.5 and 1.

    Raises:
        UserError: a table is missing or has no such rows.
    """
    chosen = {"alignment": alignments, "batchnorm": batchnorm, "eval_set": eval_sets}
    found = rows.select(tables, f"merge/{merge}", **chosen)
    sets = eval_sets or list(dict.fromkeys(found["eval_set"]))
    columns = {f"loss, {sets[0]}": _cells(averages(found, confidence), sets[0], "loss")}
    for reference, name in REFERENCES.items():
        if reference in set(found["technique"]):
            less = gains(found, reference, confidence)
            columns[f"loss − {name}"] = _cells(less, sets[0], "loss")
    for name in sets:
        columns[f"accuracy, {name} (%)"] = _cells(averages(found, confidence), name, "accuracy")
    order = list(dict.fromkeys(map(tuple, found[CHOICE].to_numpy())))
    lines = [
        dict(zip(CHOICE, choice, strict=True)) | {c: cells[choice] for c, cells in columns.items()}
        for choice in order
    ]
    count = found["set"].nunique()
    return Table(
        f"Merging techniques: {style.display(merge)}",
        f"Means over {count} sets of models with {100 * confidence:g} % intervals over the sets; "
        "losses in nats, as they are and less those of the references of the same set: the best "
        "single model (on training examples), the ensemble, or each task's own model and training "
        "on all tasks.",
        pd.DataFrame(lines),
    )


def _cells(summary: pd.DataFrame, eval_set: str, metric: str) -> dict[tuple, str]:
    """Return by choice the mean and its interval, accuracies in percent."""
    own = summary.loc[(summary["eval_set"] == eval_set) & (summary["metric"] == metric)]
    unit, form = (100, "z.1f") if metric == "accuracy" else (1, "z.3f")
    found = {}
    for _, row in own.iterrows():
        mean, low, high = (unit * row[name] for name in ("mean", "ci_low", "ci_high"))
        interval = f" [{low:{form}}, {high:{form}}]" if isfinite(low) else ""
        found[tuple(row[CHOICE])] = f"{mean:{form}}{interval}"
    return found
