"""What models make of diagnostics over what differs in their training: a sweep of one setting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field

from basins.figures import rows, style

SHARES = ("accuracy", "f1")


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    recipes: Annotated[dict[str, str], Field(min_length=2)],
    slices: Annotated[list[str], Field(min_length=1, max_length=6)],
    setting: str,
    metric: str = "accuracy",
) -> Figure:
    """Draw `metric` on each of `slices` over the values of `setting`: the keys of `recipes`.

    A recipe's models are dots, with their mean and its 95 % interval over seeds beside them. Reads
    `probes` and `summary/probes`.

    Raises `UserError` where a table has no such rows.
    """
    chosen = {"recipe": recipes.values(), "slice": slices, "metric": metric}
    seeds, means = (rows.select(tables, name, **chosen) for name in ("probes", "summary/probes"))
    colours, markers = style.colours(slices), style.markers(slices)
    places = {recipe: k for k, recipe in enumerate(recipes.values())}
    figure = style.new(style.COLUMN_WIDTH, 2.4)
    ax = figure.subplots()
    for k, slice_ in enumerate(slices):
        shift = 0.12 * (k - (len(slices) - 1) / 2)
        look: dict[str, Any] = {"color": colours[slice_], "marker": markers[slice_]}
        dots, mean = (table.loc[table["slice"] == slice_] for table in (seeds, means))
        ax.plot(
            dots["recipe"].map(places) + shift - 0.03,
            dots["value"],
            linestyle="",
            markersize=3,
            alpha=0.4,
            label=f"{slice_} seeds",
            **look,
        )
        ax.errorbar(
            mean["recipe"].map(places) + shift,
            mean["mean"],
            (mean["mean"] - mean["ci_low"], mean["ci_high"] - mean["mean"]),
            label=f"{slice_} mean",
            elinewidth=1.2,
            **look,
        )
    ax.set_xticks(range(len(recipes)), list(recipes))
    ax.set_xlabel(setting)
    ax.set_ylabel(f"{metric} (%)" if metric in SHARES else metric)
    if metric in SHARES:
        ax.set_ylim(-0.03, 1.03)
        style.in_percent(ax.yaxis)
    handles = [
        ax.plot([], [], color=colours[name], marker=markers[name], label=style.set_title(name))[0]
        for name in slices
    ]
    style.legend(figure, handles)
    return figure


def caption(
    *, recipes: dict[str, str], slices: list[str], setting: str, metric: str = "accuracy"
) -> str:
    """Say what `draw` shows under the same options."""
    return (
        f"{metric.capitalize()} on {', '.join(map(style.display, slices))} over the {setting} "
        f"({', '.join(recipes)}): every model, and the mean with its 95 % interval over seeds."
    )
