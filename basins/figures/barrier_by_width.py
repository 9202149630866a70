"""Barriers by width of networks: with and without matching and REPAIR (Jordan et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from pydantic import Field

from basins.errors import UserError
from basins.figures import rows, style

Definition = Literal["barrier_linear", "barrier_mean", "barrier_mid", "barrier_endpoint"]
Lines = dict[str, dict[Literal["alignment", "batchnorm"], str]]
LINES: Lines = {
    "not matched": {"alignment": "none", "batchnorm": "interpolate"},
    "matched": {"alignment": "weight_matching", "batchnorm": "interpolate"},
    "matched, reset": {"alignment": "weight_matching", "batchnorm": "reset"},
    "matched, REPAIR": {"alignment": "weight_matching", "batchnorm": "repair"},
}
"""The curves of the published figure: alignment of units, and treatment of statistics."""


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiments: Annotated[dict[str, str], Field(min_length=2)],
    lines: Annotated[Lines, Field(min_length=1)] = LINES,
    eval_set: str = "nc",
    metric: Literal["error", "loss"] = "error",
    definition: Definition = "barrier_linear",
) -> Figure:
    """Draw the mean barrier between models of one recipe, with its interval, against width.

    Reads `summary/barriers`, of straight paths.

    Args:
        tables: rows of `results/` by the name of their table.
        experiments: one of `connect` for each width, by the width, 2 or more.
        lines: the alignment and the BatchNorm mode of each curve, by its label.
        eval_set: the evaluation set.
        metric: whether barriers are of the error or the loss.
        definition: the definition of a barrier.

    Raises:
        UserError: a width is not a number, a table is missing or has no such rows, or an
            experiment has models of several recipes.
    """
    chosen = {"eval_set": eval_set, "metric": metric, "definition": definition}
    widths = [_width(width) for width in experiments]
    figure = style.new(style.COLUMN_WIDTH, 2.4)
    ax = figure.subplots()
    colours, markers = style.colours(lines), style.markers(lines)
    for label, curve in _curves(tables, experiments, lines, **chosen).items():
        error = (curve["mean"] - curve["ci_low"], curve["ci_high"] - curve["mean"])
        look: dict[str, Any] = {"color": colours[label], "marker": markers[label]}
        ax.errorbar(widths, curve["mean"], error, label=label, elinewidth=0.8, **look)
    ax.set_xscale("log")
    ax.set_xticks(widths, list(experiments))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("width")
    ax.set_ylim(bottom=0)
    if metric == "error":
        style.in_percent(ax.yaxis)
    unit = "%" if metric == "error" else "nats"
    ax.set_ylabel(f"{style.DEFINITIONS[definition]}\n({unit})")
    style.legend(figure, ax.get_legend_handles_labels()[0])
    return figure


def title(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiments: Mapping[str, str],
    lines: Lines = LINES,
    eval_set: str = "nc",
    metric: str = "error",
    definition: str = "barrier_linear",
) -> str:
    """State the barriers of the last line at the first and the last width."""
    chosen = {"eval_set": eval_set, "metric": metric, "definition": definition}
    label, curve = [*_curves(tables, experiments, lines, **chosen).items()][-1]
    scale, unit = (100, "{:.0f} points of error") if metric == "error" else (1, "{:.2g} nats")
    first, last = (unit.format(scale * curve["mean"].iloc[k]) for k in (0, -1))
    narrow, *_, wide = experiments
    return (
        f"Barriers on {style.on(eval_set)} ({label}) average {first} at width {narrow}, {last} at "
        f"width {wide}"
    )


def _curves(
    tables: Mapping[str, pd.DataFrame],
    experiments: Mapping[str, str],
    lines: Lines,
    **chosen: str,
) -> dict[str, pd.DataFrame]:
    """Return the row of every width, in their order, for each line."""
    names = [*experiments.values()]
    found = rows.select(tables, "summary/barriers", experiment=names, path="linear", **chosen)
    own = {"the barriers": found}
    return {
        label: pd.DataFrame(
            [_one(rows.select(own, "the barriers", experiment=name, **line)) for name in names]
        )
        for label, line in lines.items()
    }


def caption(
    *,
    experiments: Mapping[str, str],
    lines: Lines = LINES,
    eval_set: str = "nc",
    metric: str = "error",
    definition: str = "barrier_linear",
) -> str:
    """Describe what `draw` shows with the same options.

    Args:
        experiments: one of `connect` for each width, by the width.
        lines: the curves, by their labels.
        eval_set: the evaluation set.
        metric: whether barriers are of the error or the loss.
        definition: the definition of a barrier.
    """
    return (
        f"{style.DEFINITIONS[definition].capitalize()} of the {metric} on "
        f"{style.on(eval_set)} between models of one recipe, against the width of their "
        f"network ({', '.join(experiments)}): {'; '.join(lines)}. Means with their intervals over "
        "seeds. After Jordan et al. (2023)."
    )


def _width(text: str) -> float:
    if not text.isdigit() or int(text) == 0:
        raise UserError(f"width {text!r} is not a number above 0; name each experiment's width")
    return int(text)


def _one(found: pd.DataFrame) -> pd.Series:
    """Return the only row, of the pairs within one recipe."""
    own = found.loc[found["recipe_a"] == found["recipe_b"]]
    if len(own) != 1:
        name = found["experiment"].iloc[0]
        raise UserError(f"{name}: {len(own)} recipes have pairs of models within; choose one of 1")
    return own.iloc[0]
