"""All merging techniques, compared with the best of the models and their ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import pandas as pd
from pydantic import Field

from basins.figures import rows, style
from basins.statistics.merges import CHOICE, averages, gains
from basins.tables.table import INTERVAL, Table, interval

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
    """Return a row for each technique, alignment and BatchNorm mode of one merge.

    It has the loss on the first evaluation set, in distribution, also less that of the references
    on the same models, and the accuracy on all sets. Reads `merge/<merge>`.

    Args:
        tables: rows of `results/` by the name of their table.
        merge: one of `merge`.
        alignments: those that are shown, 1 or more; None shows all.
        batchnorm: the modes that are shown, 1 or more; None shows all.
        eval_sets: those that are shown, 1 or more, the one in distribution first; None shows all.
        confidence: the confidence of the intervals, between 0.5 and 1.

    Raises:
        UserError: a table is missing or has no such rows.
    """
    equal = {"alignment": alignments, "batchnorm": batchnorm, "eval_set": eval_sets}
    shown = rows.select(tables, f"merge/{merge}", **equal)
    sets = eval_sets or list(dict.fromkeys(shown["eval_set"]))
    columns = {f"loss on {style.on(sets[0])}": _cells(averages(shown, confidence), sets[0], "loss")}
    for reference, name in REFERENCES.items():
        if reference in set(shown["technique"]):
            less = gains(shown, reference, confidence)
            columns[f"loss − {name}"] = _cells(less, sets[0], "loss")
    for name in sets:
        columns[f"accuracy on {style.on(name)} (%)"] = _cells(
            averages(shown, confidence), name, "accuracy"
        )
    order = list(dict.fromkeys(map(tuple, shown[CHOICE].to_numpy())))
    lines = [
        dict(zip(CHOICE, choice, strict=True)) | {c: cells[choice] for c, cells in columns.items()}
        for choice in order
    ]
    count = shown["set"].nunique()
    return Table(
        f"Merging techniques: {style.display(merge)}",
        f"Means over {count} sets of models with {100 * confidence:g} % intervals over the sets; "
        "losses in nats, absolute and less those of the references of the same set: the best "
        "single model (on training examples), the ensemble, or the model of each task and training "
        "on all tasks.",
        pd.DataFrame(lines),
    )


def _cells(summary: pd.DataFrame, eval_set: str, metric: str) -> dict[tuple, str]:
    """Return the mean and its interval by choice, with accuracies in percent."""
    shown = summary.loc[(summary["eval_set"] == eval_set) & (summary["metric"] == metric)]
    unit, form = (100, "z.1f") if metric == "accuracy" else (1, "z.3f")
    cells = {}
    for _, row in shown.iterrows():
        cells[tuple(row[CHOICE])] = interval(form, *(unit * row[INTERVAL].astype(float)))
    return cells
