"""Kinds of path side by side: a row per cue proportion, a column per set (MMC Fig. 4 and 5)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pydantic import Field

from basins.errors import UserError
from basins.figures import rows, style

FEW = 5
"""Up to this many pairs of models, each pair is drawn as well as the mean."""

Column = Literal["path", "alignment", "batchnorm", "recipe_a", "recipe_b", "init"]
Names = Annotated[list[str], Field(min_length=1)]


class Curve(NamedTuple):
    """The columns that identify a curve."""

    experiment: str
    path: str
    alignment: str
    batchnorm: str
    recipe_a: str
    recipe_b: str
    init: str


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiments: Annotated[dict[str, Names], Field(min_length=1)],
    lines: Annotated[dict[str, dict[Column, str]], Field(min_length=1)],
    metric: Literal["accuracy", "loss"] = "accuracy",
    chance: Annotated[float, Field(ge=0, le=1)] | None = None,
) -> Figure:
    """Draw accuracy (%) or loss (nats) over t: a row per cue proportion, a column per set.

    Reads `summary/paths` (mean and 95 % interval over seeds) and `paths` (thin lines, one per pair
    of models, if there are few).

    Args:
        tables: rows, by the name of their table.
        experiments: the label of each row, and the experiments that are searched for its lines, in
            this order.
        lines: the label of each line, and the values that identify it. A recipe may be named
            without its group: `small` matches `finetuned_80/small`. Pairs within one recipe are
            left out unless the line names both recipes. A row without such a curve omits the line.
        metric: what is drawn.
        chance: the accuracy of guessing, a share; marked if given.

    Raises `UserError` if a row has no line, or a line matches several curves.
    """
    names = [name for row in experiments.values() for name in row]
    means = _curves(rows.select(tables, "summary/paths", metric=metric, experiment=names))
    pairs = _curves(
        rows.select(tables, "paths", experiment=names).assign(
            recipe_a=lambda f: f["model_a"].map(rows.recipe),
            recipe_b=lambda f: f["model_b"].map(rows.recipe),
            init=lambda f: np.where(
                f["model_a"].map(rows.seed) == f["model_b"].map(rows.seed), "shared", "separate"
            ),
        )
    )
    found = {row: _found(means, row, names, lines) for row, names in experiments.items()}
    shown = [label for label in lines if any(label in curves for curves in found.values())]
    eval_sets = style.ordered_sets(s for curve in means.values() for s in curve["eval_set"])
    colours, markers = style.colours(lines), style.markers(lines)

    figure = style.new(style.PAGE_WIDTH, 0.6 + 1.25 * len(found))
    shared = "row" if metric == "accuracy" else "none"  # losses of sets have different ranges
    panels = figure.subplots(len(found), len(eval_sets), sharex=True, sharey=shared, squeeze=False)
    for (row, curves), line in zip(found.items(), panels, strict=True):
        if len(found) > 1:
            line[-1].yaxis.set_label_position("right")
            line[-1].set_ylabel(row, rotation=270, va="bottom")
        for eval_set, ax in zip(eval_sets, line, strict=True):
            for label, curve in curves.items():
                few = _draw_pairs(ax, _on(eval_set, pairs[curve]), metric, colours[label])
                look = {"color": colours[label], "marker": markers[label], "label": label}
                _draw_mean(ax, _on(eval_set, means[curve]), look, band=not few)
            if chance is not None and metric == "accuracy":
                ax.axhline(chance, **style.CHANCE, zorder=1)
        if metric == "accuracy":
            line[0].set_ylim(0, 1.02)
            style.in_percent(line[0].yaxis)
        else:
            for ax in line:
                ax.set_ylim(bottom=0)
    for eval_set, ax in zip(eval_sets, panels[0], strict=True):
        ax.set_title(style.set_title(eval_set))
        ax.set(xticks=(0, 0.5, 1))
        ax.margins(x=0.02)
    figure.supxlabel("position on the path", fontsize=7.5)
    figure.supylabel(style.quantity(metric), fontsize=7.5)
    style.legend(
        figure,
        [Line2D([], [], color=colours[k], marker=markers[k], label=k) for k in shown],
    )
    return figure


def title(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiments: Mapping[str, Sequence[str]],
    lines: Mapping[str, Mapping[Column, str]],
    metric: str = "accuracy",
    **_: object,
) -> str:
    """State the extreme values of the most and least extreme line on the first set.

    The row with the most lines is used.
    """
    names = [name for row in experiments.values() for name in row]
    means = _curves(rows.select(tables, "summary/paths", metric=metric, experiment=names))
    found = {row: _found(means, row, own, lines) for row, own in experiments.items()}
    row = max(found, key=lambda name: len(found[name]))
    first = style.ordered_sets(s for curve in means.values() for s in curve["eval_set"])[0]
    extremes = {}
    for label, curve in found[row].items():
        values = _on(first, means[curve])["mean"]
        extremes[label] = (min if metric == "accuracy" else max)(map(float, values))
    order = sorted(extremes, key=extremes.__getitem__, reverse=metric == "loss")
    word = "falls to" if metric == "accuracy" else "rises to"
    write = style.percent if metric == "accuracy" else "{:.2f}".format
    worst, best = (f"“{k}” {word} {write(extremes[k])}" for k in (order[0], order[-1]))
    name, one = style.on(first), f" ({row})" if len(found) > 1 else ""
    return f"{style.sentence(metric)} on {name} along paths{one}: {worst}, {best}"


def caption(
    *,
    experiments: Mapping[str, Sequence[str]],
    lines: Mapping[str, Mapping[str, str]],
    metric: str = "accuracy",
    chance: float | None = None,
) -> str:
    """Describe what `draw` shows with the same options."""
    guessing = style.guessing(chance if metric == "accuracy" else None)
    modes = dict.fromkeys(line["batchnorm"] for line in lines.values() if "batchnorm" in line)
    how = f" ({', '.join(map(style.display, modes))})" if modes else ""
    some = " (not all rows have all)" if len(experiments) > 1 else ""
    return (
        f"{style.sentence(metric)} on the test sets (columns) along paths between models{how}. "
        f"Lines{some}: {'; '.join(lines)}. Bold: mean over seeds; thin: single pairs, or if "
        f"there are many, a band of the 95 % interval.{guessing} After MMC, Fig. 4 and 5."
    )


def _curves(points: pd.DataFrame) -> dict[Curve, pd.DataFrame]:
    columns = list(Curve._fields)
    groups = points.sort_values("t", kind="stable").groupby(columns, sort=False)
    return {Curve(*curve[columns].iloc[0]): curve for _, curve in groups}


def _found(
    curves: Collection[Curve],
    row: str,
    experiments: Sequence[str],
    lines: Mapping[str, Mapping[Column, str]],
) -> dict[str, Curve]:
    """Return the curve of each line of a row, from the first experiment that has it."""
    found = {}
    for label, chosen in lines.items():
        for experiment in experiments:
            fitting = [c for c in curves if c.experiment == experiment and _fits(c, chosen)]
            if len(fitting) > 1:
                raise UserError(_several(row, label, fitting))
            if fitting:
                found[label] = fitting[0]
                break
    if not found:
        raise UserError(f"row {row!r} has none of the lines, in: {', '.join(experiments)}")
    return found


def _fits(curve: Curve, chosen: Mapping[Column, str]) -> bool:
    if curve.recipe_a == curve.recipe_b and not {"recipe_a", "recipe_b"} <= chosen.keys():
        return False
    found = curve._asdict()
    return all(
        found[column] == value
        or (column in ("recipe_a", "recipe_b") and found[column].endswith(f"/{value}"))
        for column, value in chosen.items()
    )


def _several(row: str, label: str, fitting: Sequence[Curve]) -> str:
    values = {column: {getattr(curve, column) for curve in fitting} for column in Curve._fields}
    choices = "; ".join(f"{k} {', '.join(sorted(v))}" for k, v in values.items() if len(v) > 1)
    return f"row {row!r}, line {label!r}: {len(fitting)} curves; choose one by: {choices}"


def _on(eval_set: str, points: pd.DataFrame) -> pd.DataFrame:
    return points.loc[points["eval_set"] == eval_set]


def _draw_pairs(ax: Axes, points: pd.DataFrame, metric: str, colour: str) -> bool:
    """Draw each pair if there are few, and return whether there are."""
    pairs = [pair for _, pair in points.groupby(["model_a", "model_b"], sort=False)]
    if len(pairs) <= FEW:
        for pair in pairs:
            ax.plot(pair["t"], pair[metric], color=colour, linewidth=0.6, alpha=0.5)
    return len(pairs) <= FEW


def _draw_mean(ax: Axes, mean: pd.DataFrame, look: dict[str, Any], *, band: bool) -> None:
    if band:
        ax.fill_between(mean["t"], mean["ci_low"], mean["ci_high"], color=look["color"], alpha=0.15)
    ax.plot(mean["t"], mean["mean"], markevery=max(1, len(mean) // 5), **look)
