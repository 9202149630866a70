"""Which strategy the average of two networks' weights has, compared with those of the two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from pydantic import Field

from basins.errors import UserError
from basins.figures import rows, style

Apart = Annotated[float, Field(gt=0, lt=1)]
COLOURS = style.colours(("pairs", "mean"))


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiment: str,
    eval_set: str,
    apart: Apart = 0.2,
    metric: str = "accuracy",
    path: str = "linear",
    alignment: str = "none",
    batchnorm: str = "interpolate",
) -> Figure:
    """Draw a diagnostic halfway between two models against its mean over the two, by pair.

    For pairs that differ by at least `apart`, a histogram shows where the network halfway lies
    between them, 0 at the lower and 1 at the higher. Reads `paths`.

    Args:
        tables: rows of `results/` by the name of their table.
        experiment: one of `connect` that measures at t = .5.
        eval_set: the name of the diagnostic along paths.
        apart: the smallest difference between two models, a share.
        metric: what is measured there, a share.
        path: the kind of path.
        alignment: how the second model of a pair was matched to the first.
        batchnorm: the BatchNorm mode along the path.

    Raises:
        UserError: a table is missing or has no such rows, or no pair is that far apart.
    """
    ids = {"path": path, "alignment": alignment, "batchnorm": batchnorm}
    pairs = _pairs(tables, experiment, eval_set, metric, **ids)
    far = _far(pairs, apart, experiment)
    figure = style.new(style.PAGE_WIDTH, 2.5)
    left, right = figure.subplots(1, 2)
    for found, alpha in ((pairs.drop(far.index), 0.25), (far, 0.8)):
        left.scatter(
            (found["low"] + found["high"]) / 2, found["middle"],
            s=6, alpha=alpha, linewidths=0, color=COLOURS["pairs"], rasterized=len(pairs) > 5000,
        )  # fmt: skip
    left.axline((0.5, 0.5), slope=1, **style.CHANCE)
    low, high = pairs[["low", "middle"]].min().min(), pairs[["high", "middle"]].max().max()
    edge = 0.03 * (high - low)
    left.set(xlim=(low - edge, high + edge), ylim=(low - edge, high + edge), box_aspect=1)
    left.set_title(f"{len(pairs)} pairs")
    name = f"{style.display(metric)} (%)"
    left.set(xlabel=f"mean of two models' {name}", ylabel=f"halfway, {name}")
    for axis in (left.xaxis, left.yaxis):
        axis.set_major_formatter(PercentFormatter(1, symbol=""))
    place = far["place"].to_numpy(float)
    sns.histplot(place.clip(-0.5, 1.5), binrange=(-0.5, 1.5), binwidth=0.1, ax=right,
                 color=COLOURS["pairs"], linewidth=0.3)  # fmt: skip
    right.axvline(float(np.median(place)), color=COLOURS["mean"], linewidth=1.5)
    right.set_title(f"{len(far)} that differ by {100 * apart:g} points or more")
    right.set(xticks=(-0.5, 0, 0.5, 1, 1.5), ylabel="pairs")
    right.yaxis.set_major_locator(MaxNLocator(integer=True))
    right.set_xticklabels(("", "the lower", "halfway", "the higher", ""))
    right.set_xlabel("position of the average between the two")
    return figure


def title(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiment: str,
    eval_set: str,
    apart: Apart = 0.2,
    metric: str = "accuracy",
    path: str = "linear",
    alignment: str = "none",
    batchnorm: str = "interpolate",
) -> str:
    """State how many averages lie near the lower of two models, between, and near the higher."""
    ids = {"path": path, "alignment": alignment, "batchnorm": batchnorm}
    far = _far(_pairs(tables, experiment, eval_set, metric, **ids), apart, experiment)
    place = far["place"].to_numpy(float)
    lower, higher = place < 0.25, place > 0.75
    shares = [style.percent(kept.mean()) for kept in (lower, ~lower & ~higher, higher)]
    return (
        f"Averages of two models that differ on {style.on(eval_set)}: {shares[0]} are like "
        f"the lower, {shares[1]} between, {shares[2]} like the higher"
    )


def caption(
    *, experiment: str, eval_set: str, apart: Apart = 0.2, metric: str = "accuracy", **_: object
) -> str:
    """Describe what `draw` shows with the same options."""
    return (
        f"{style.sentence(metric)} on {style.on(eval_set)} of the network whose "
        f"weights are the mean of two models' ({style.display(experiment)}), against the mean of "
        f"the two; dark: pairs that differ by {100 * apart:g} points or more. Right: its position "
        "between the two for these pairs, with the median. Like the lower: in the lowest quarter "
        "between the two, or below both; like the higher: in the highest quarter, or above both."
    )


def _pairs(
    tables: Mapping[str, pd.DataFrame], experiment: str, eval_set: str, metric: str, **ids: str
) -> pd.DataFrame:
    """Return `low`, `high` and `middle` of every pair, and the `place` of `middle` between both."""
    found = rows.select(tables, "paths", experiment=experiment, eval_set=eval_set, **ids)
    square = found.assign(t=found["t"].round(6)).pivot(
        index=["model_a", "model_b"], columns="t", values=metric
    )
    if 0.5 not in square:
        raise UserError(f"{experiment}: nothing is measured halfway, but at {list(square)}")
    ends = square[[0.0, 1.0]]
    pairs = pd.DataFrame(
        {"low": ends.min(axis=1), "high": ends.max(axis=1), "middle": square[0.5]}
    ).dropna()
    width = (pairs["high"] - pairs["low"]).replace(0, np.nan)
    return pairs.assign(place=(pairs["middle"] - pairs["low"]) / width)


def _far(pairs: pd.DataFrame, apart: float, experiment: str) -> pd.DataFrame:
    far = pairs.loc[pairs["high"] - pairs["low"] >= apart]
    if far.empty:
        raise UserError(f"{experiment}: no two models differ by {apart:g} there; lower `apart`")
    return far
