"""Equal accuracy in distribution, different out of it: over seeds and along paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from basins.errors import UserError
from basins.figures import rows, style

SIDES = ("in", "out")
LOOKS: dict[str, dict[str, Any]] = {
    side: {"color": style.colours(SIDES)[side], "marker": style.markers(SIDES)[side]}
    for side in SIDES
}
"""The styles of both accuracies."""


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiment: str,
    slice: str,
    metric: str = "accuracy",
    eval_set: str | None = None,
    path: str = "linear",
    alignment: str = "none",
    batchnorm: str = "interpolate",
) -> Figure:
    """Draw each model's accuracy in distribution and value on a diagnostic, sorted by the latter.

    With an `eval_set`, a second panel has both along the paths from each model in the lowest
    quarter on the diagnostic to each in the highest, and their means. Reads `barriers` and
    `probes`, and then `paths`.

    Args:
        tables: rows of `results/` by the name of their table.
        experiment: one of `connect` between models of one recipe.
        slice: the slice of the diagnostic's probe.
        metric: what it measured there, a share.
        eval_set: the name of the diagnostic along paths; None draws no paths.
        path: the kind of path.
        alignment: how the second model of a pair was matched to the first.
        batchnorm: the BatchNorm mode along the path.

    Raises:
        UserError: a table is missing or has no such rows, or there are fewer than four models.
    """
    models = _models(tables, experiment, slice, metric)
    figure = style.new(style.COLUMN_WIDTH if eval_set is None else style.PAGE_WIDTH, 2.4)
    panels = figure.subplots(1, 1 if eval_set is None else 2, sharey=True, squeeze=False)[0]
    _seeds(panels[0], models)
    panels[0].set_title(f"{len(models)} models of one recipe")
    panels[0].set(xlabel="models, ordered by the diagnostic", ylim=(-0.03, 1.03))
    panels[0].set_ylabel(
        "accuracy (%)" if metric == "accuracy" else f"accuracy, {style.display(metric)} (%)"
    )
    style.in_percent(panels[0].yaxis)
    base = rows.select(tables, "probes", slice="test")
    base = base.loc[base["metric"] == "base_rate", "value"]
    for ax in panels if len(base) else ():
        ax.axhline(base.iloc[0], **style.CHANCE, zorder=1)
    if eval_set is not None:
        chosen = {"experiment": experiment, "path": path, "alignment": alignment}
        curves = rows.select(
            tables, "paths", **chosen, batchnorm=batchnorm, eval_set=["test", eval_set]
        )
        pairs = _between(curves, models["model"].tolist())
        for name, on, of in (("in", "test", "accuracy"), ("out", eval_set, metric)):
            _curves(panels[1], pairs.loc[pairs["eval_set"] == on], of, LOOKS[name])
        panels[1].set_title(f"{style.display(path)}s, lowest to highest quarter")
        panels[1].set(xlabel="position on the path", xticks=(0, 0.5, 1))
        panels[1].tick_params(axis="y", length=0)
    names = (
        "in distribution",
        style.set_title(slice) + ("" if metric == "accuracy" else f", {style.display(metric)}"),
    )
    handles = [
        Line2D([], [], label=name, **look) for name, look in zip(names, LOOKS.values(), strict=True)
    ]
    if len(base):
        handles.append(Line2D([], [], label="most frequent class", **style.CHANCE))
    style.legend(figure, handles)
    return figure


def title(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiment: str,
    slice: str,
    metric: str = "accuracy",
    **_: object,
) -> str:
    """State the range of the models in distribution and on the diagnostic."""
    models = _models(tables, experiment, slice, metric)
    said = [
        f"{style.percent(values.min())} to {style.percent(values.max())}"
        for values in (models[side].to_numpy(float) for side in SIDES)
    ]
    of = "" if metric == "accuracy" else f"{style.display(metric)} of "
    return (
        f"{len(models)} models, one recipe: {said[0]} in distribution, {of}{said[1]} on "
        f"{style.on(slice)}"
    )


def caption(
    *,
    experiment: str,
    slice: str,
    metric: str = "accuracy",
    eval_set: str | None = None,
    path: str = "linear",
    **_: object,
) -> str:
    """Describe what `draw` shows with the same options."""
    out = f"{style.display(metric)} on {style.on(slice)}"
    said = (
        f"Accuracy on the test set, in distribution, and {out} of each model "
        f"({style.display(experiment)}), ordered by the latter, with 95 % intervals over examples. "
    )
    if eval_set is not None:
        said += (
            f"Right: both along each {style.display(path)} from a model in the lowest quarter on "
            "the diagnostic to one in the highest (thin), and the mean of these paths. "
        )
    return f"{said}Dotted: always predicting the most frequent class of the test set."


def _models(
    tables: Mapping[str, pd.DataFrame], experiment: str, slice_: str, metric: str
) -> pd.DataFrame:
    """Return both values of each `model`, `in` and `out`, with intervals, sorted by `out`."""
    pairs = rows.select(tables, "barriers", experiment=experiment)
    known = {*pairs["model_a"], *pairs["model_b"]}
    sides = []
    for side, on, of in (("in", "test", "accuracy"), ("out", slice_, metric)):
        found = rows.select(tables, "probes", slice=on, metric=of)
        model = found["recipe"] + "/seed" + found["seed"].astype(str)
        found = found.assign(model=model).rename(columns={"value": side})
        found = found.rename(columns={end: f"{side}_{end}" for end in ("ci_low", "ci_high")})
        sides.append(found[["model", side, f"{side}_ci_low", f"{side}_ci_high"]])
    both = sides[0].merge(sides[1], on="model")
    both = both.loc[both["model"].isin(known)].sort_values(["out", "model"], kind="stable")
    if len(both) < 4:
        raise UserError(f"{experiment}: {len(both)} models with both values; a spread takes 4")
    return both.reset_index(drop=True)


def _seeds(ax: Axes, models: pd.DataFrame) -> None:
    """Draw both values of every model, with their intervals, side by side."""
    for side, look in LOOKS.items():
        ends = (models[side] - models[f"{side}_ci_low"], models[f"{side}_ci_high"] - models[side])
        ax.errorbar(models.index + 1, models[side], ends, linestyle="", elinewidth=0.6, **look)
    ax.set_xlim(0, len(models) + 1)


def _between(curves: pd.DataFrame, models: list[str]) -> pd.DataFrame:
    """Return curves between the first and the last quarter of the models, from low to high.

    `pair` names both ends, and `t` is 0 at the lower.
    """
    place = {model: k for k, model in enumerate(models)}
    quarter = len(models) // 4
    ends = curves[["model_a", "model_b"]].map(lambda model: place.get(model, len(models) // 2))
    low, high = ends.min(axis=1), ends.max(axis=1)
    kept = (low < quarter) & (high >= len(models) - quarter)
    curves, ends = curves.loc[kept], ends.loc[kept]
    t = curves["t"].where(ends["model_a"] < ends["model_b"], 1 - curves["t"]).round(6)
    return curves.assign(t=t, pair=curves["model_a"] + " " + curves["model_b"])


def _curves(ax: Axes, pairs: pd.DataFrame, metric: str, look: Mapping[str, Any]) -> None:
    """Draw a metric along every path, thin, and the mean over paths."""
    square = pairs.pivot(index="t", columns="pair", values=metric).dropna()
    ax.plot(square.index, square, color=look["color"], linewidth=0.4, alpha=0.2, zorder=2)
    ax.plot(square.index, square.mean(axis=1), markersize=3.5, linewidth=1.8, zorder=3, **look)
