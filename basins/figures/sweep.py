"""Diagnostics of models, or of merges, as a function of one setting: a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import Field

from basins.errors import UserError
from basins.figures import rows, style
from basins.statistics.merges import averages
from basins.statistics.seeds import SHARES

TOUCHING = 0.08  # share of the axis below which labels of two values overlap
LINES = ((0, (4, 2)), (0, (1, 1.5)))


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    recipes: Annotated[dict[str, str], Field(min_length=2)],
    slices: Annotated[list[str], Field(min_length=1, max_length=6)],
    setting: str,
    metric: str = "accuracy",
    experiments: Sequence[str] = (),
    eval_set: str = "test",
    merge: str | None = None,
    beside: Annotated[dict[str, str], Field(max_length=2)] | None = None,
) -> Figure:
    """Draw `metric` on each of `slices` against the values of a setting.

    Models are dots beside their mean with its 95 % interval over seeds. Reads `probes` and
    `summary/probes`, or `merge/<merge>`, and with experiments `summary/barriers`.

    Args:
        tables: rows of `results/` by the name of their table.
        recipes: the recipe of each value of the setting, by the value, 2 or more.
        slices: the slices of probes, 1 to 6.
        setting: the name of the setting, in words.
        metric: what the probes measured.
        experiments: some of `connect`. If given, the mean convexity gap of the loss between the
            models of a recipe is drawn below, from the first experiment that joins them.
        eval_set: the evaluation set of this gap.
        merge: one of `merge`, if recipes are its techniques and `slices` its evaluation sets.
        beside: recipes by their names, 2 at most, whose means are horizontal lines.

    Raises:
        UserError: a table is missing or has no such rows.
    """
    seeds, means = _values(tables, recipes, slices, metric, merge)
    colours, markers = style.colours(slices), style.markers(slices)
    at, lines = _places(list(recipes)), _lines(recipes)
    places = dict(zip(recipes.values(), at, strict=True))
    figure = style.new(4.5, 3.3 if experiments else 2.4)
    ratios = {"height_ratios": (2, 1)} if experiments else None
    panels = figure.subplots(1 + bool(experiments), 1, squeeze=False, gridspec_kw=ratios)[:, 0]
    ax, last = panels[0], panels[-1]
    for k, slice_ in enumerate(slices):
        shift = 0.06 * (k - (len(slices) - 1) / 2)
        look: dict[str, Any] = {"color": colours[slice_], "marker": markers[slice_]}
        dots, mean = (table.loc[table["slice"] == slice_] for table in (seeds, means))
        line = mean["recipe"].map(lines)
        ax.plot(
            dots["recipe"].map(places) + shift - 0.015,
            dots["value"],
            linestyle="",
            markersize=3,
            alpha=0.4,
            label=f"{slice_} seeds",
            **look,
        )
        for _, part in mean.groupby(line, sort=False):
            ax.errorbar(
                part["recipe"].map(places) + shift,
                part["mean"],
                (part["mean"] - part["ci_low"], part["ci_high"] - part["mean"]),
                label=f"{slice_} mean",
                elinewidth=1.2,
                **look,
            )
    for panel in panels:
        panel.set_xticks(at, [_folded(label) for label in recipes])
        panel.set_xlim(-0.3, len(recipes) - 0.7)
    last.set_xlabel(setting)
    if experiments:
        _draw_gaps(last, at, _gaps(tables, recipes, experiments, eval_set))
    ax.set_ylabel(style.quantity(metric))
    if metric in SHARES:
        ax.set_ylim(-0.03, 1.03)
        style.in_percent(ax.yaxis)
    handles = [
        ax.plot([], [], color=colours[name], marker=markers[name], label=style.set_title(name))[0]
        for name in slices
    ]
    for (label, recipe), line in zip((beside or {}).items(), LINES, strict=False):
        _, level = _values(tables, {label: recipe}, slices, metric, merge)
        for name, mean in zip(level["slice"], level["mean"], strict=True):
            ax.axhline(mean, color=colours[name], linestyle=line, linewidth=0.9, zorder=1)
        handles += ax.plot([], [], color="#555555", linestyle=line, linewidth=0.9, label=label)
    style.legend(figure, handles)
    return figure


def _values(
    tables: Mapping[str, pd.DataFrame],
    recipes: Mapping[str, str],
    slices: Sequence[str],
    metric: str,
    merge: str | None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the `value` of each seed, and the `mean` with its interval, by recipe and slice."""
    if merge is None:
        chosen = {"recipe": recipes.values(), "slice": slices, "metric": metric}
        seeds, means = (rows.select(tables, n, **chosen) for n in ("probes", "summary/probes"))
        return seeds, means
    found = rows.select(tables, f"merge/{merge}", technique=recipes.values(), eval_set=slices)
    names = {"technique": "recipe", "eval_set": "slice"}
    means = averages(found, 0.95).rename(columns=names)
    return found.rename(columns={**names, metric: "value"}), means.loc[means["metric"] == metric]


def _lines(recipes: Mapping[str, str]) -> dict[str, int]:
    """Return the number of the line on which each recipe is: 0, or its own.

    A label of several settings, such as ".01, batch 32", is its own among labels of one.
    """
    several = [", " in label for label in recipes]
    own = [0 if all(several) else k * value for k, value in enumerate(several, 1)]
    return dict(zip(recipes.values(), own, strict=True))


def _folded(label: str) -> str:
    """Return a label of several settings on as many lines, if it is long."""
    return label.replace(", ", ",\n") if len(label) > 10 else label


def _places(labels: Sequence[str]) -> list[float]:
    """Return the positions of values, from 0 to their number minus 1, to scale if numeric.

    The scale is logarithmic if they span about a decade, and even if labels would overlap.
    """
    evenly = [float(k) for k in range(len(labels))]
    try:
        values = np.array([float(label.rstrip(" %")) for label in labels])
    except ValueError:
        return evenly
    if values.min() > 0 and values.max() >= 8 * values.min():
        values = np.log(values)
    if len(values) < 2 or np.diff(np.sort(values)).min() <= TOUCHING * np.ptp(values):
        return evenly
    return ((len(labels) - 1) * (values - values.min()) / np.ptp(values)).tolist()


def title(
    tables: Mapping[str, pd.DataFrame],
    *,
    recipes: Mapping[str, str],
    slices: Sequence[str],
    setting: str,
    metric: str = "accuracy",
    merge: str | None = None,
    **_: object,
) -> str:
    """State the first and the last value of the slice that changes most."""
    first, last = [*recipes][0], [*recipes][-1]
    means = _values(tables, recipes, slices, metric, merge)[1]
    ends = means.pivot(index="slice", columns="recipe", values="mean").loc[list(slices)]
    ends = ends[[recipes[first], recipes[last]]]
    slice_ = str(ends.diff(axis=1).iloc[:, -1].abs().idxmax())
    low, high = (
        style.percent(value) if metric in SHARES else f"{value:.2f}" for value in ends.loc[slice_]
    )
    first, last = (end if end[0] in "−.0123456789" else f"“{end}”" for end in (first, last))
    what = f"{style.sentence(metric)} on {style.on(slice_)}"
    return f"{what}, {setting}: {low} at {first}; {high} at {last}"


def caption(
    *,
    recipes: dict[str, str],
    slices: list[str],
    setting: str,
    metric: str = "accuracy",
    experiments: Sequence[str] = (),
    eval_set: str = "test",
    merge: str | None = None,
    beside: Mapping[str, str] | None = None,
) -> str:
    """Describe what `draw` shows with the same options.

    Args:
        recipes: the recipe of each value of the setting, by the value.
        slices: the slices of probes.
        setting: the name of the setting, in words.
        metric: what the probes measured.
        experiments: some of `connect`, whose gaps are drawn below, possibly none.
        eval_set: the evaluation set of the gaps.
        merge: the merge whose techniques the recipes are, or None.
        beside: recipes whose means are horizontal lines, possibly none.
    """
    every = "model" if merge is None else "merge"
    below = (
        f" Below: the mean convexity gap of the loss on {style.on(eval_set)} between two "
        "models, with its interval over seeds."
    )
    lines = f" Horizontal lines: the means of {' and '.join(beside)}." if beside else ""
    return (
        f"{style.sentence(metric)} on {style.joined(map(style.on, slices))}, against the {setting} "
        f"({'; '.join(recipes)}): every {every}, and the mean with its 95 % interval over seeds."
        f"{lines}{below if experiments else ''}"
    )


def _gaps(
    tables: Mapping[str, pd.DataFrame],
    recipes: Mapping[str, str],
    experiments: Sequence[str],
    eval_set: str,
) -> pd.DataFrame:
    """Return the row of each recipe, from the first experiment that has one, and its position."""
    chosen = {"path": "linear", "alignment": "none", "eval_set": eval_set, "metric": "loss"}
    chosen |= {"definition": "convexity_gap"}
    found = rows.select(tables, "summary/barriers", experiment=experiments, **chosen)
    own = found.loc[found["recipe_a"] == found["recipe_b"]].set_index("recipe_a")
    order = own["experiment"].map(list(experiments).index)
    own = own.loc[order.sort_values(kind="stable").index]
    first = own.loc[~own.index.duplicated()].reindex(list(recipes.values()))
    missing = [label for label, mean in zip(recipes, first["mean"], strict=True) if pd.isna(mean)]
    if missing:
        raise UserError(f"no pairs within {recipes[missing[0]]} in: {', '.join(experiments)}")
    return first


def _draw_gaps(ax: Axes, at: Sequence[float], gaps: pd.DataFrame) -> None:
    error = (gaps["mean"] - gaps["ci_low"], gaps["ci_high"] - gaps["mean"])
    ax.errorbar(at, gaps["mean"], error, marker="o", elinewidth=1.2)
    ax.axhline(0, **style.CHANCE)
    ax.set_ylabel("convexity gap\n(nats)")
