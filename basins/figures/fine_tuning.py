"""What models rely on after fine-tuning, compared with the paper (MMC Table 1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field

from basins.claims.published import Percent, agreement, beside
from basins.figures import rows, style

OURS = {"linestyle": "", "marker": "o", "markersize": 3.2, "elinewidth": 1.1, "color": "C0"}
PAPER = {"linestyle": "", "marker": "D", "markersize": 3.8, "markeredgewidth": 0.9, "color": "C1"}
LOOKS = {
    True: PAPER | {"label": "the paper's, inside our interval"},
    False: PAPER | {"markerfacecolor": "none", "label": "the paper's, outside it"},
}


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    groups: Annotated[dict[Percent, str], Field(min_length=1)],
    methods: Annotated[dict[str, str], Field(min_length=1)],
    published: Literal["cifar10", "cifar100"],
    chance: Annotated[float, Field(ge=0, le=1)] | None = None,
) -> Figure:
    """Draw accuracy (%) by counterfactual set, cue proportion and method, with the paper's.

    Reads `summary/probes`.

    Args:
        tables: rows, by the name of their table.
        groups: fine-tuning groups by cue proportion in percent, such as "80".
        methods: titles of the methods by their labels within the groups.
        published: the dataset whose published numbers are shown.
        chance: the accuracy of guessing, a share; marked if given.

    Raises:
        UserError: the table has no such rows.
    """
    made = compared(tables, groups, methods, published)
    proportions, sets = made["proportion"].unique(), made["set"].unique()
    gaps = 0.9 * np.repeat(np.arange(len(proportions)), len(methods))
    y = np.arange(len(gaps)) + gaps
    figure = style.new(style.PAGE_WIDTH, 0.95 + 0.14 * y[-1])
    panels = figure.subplots(1, len(sets), sharey=True)
    for eval_set, ax in zip(sets, panels, strict=True):
        of = made.loc[made["set"] == eval_set]
        ends = [of["mean"] - of["ci_low"], of["ci_high"] - of["mean"]]
        keys = [ax.errorbar(of["mean"], y, xerr=ends, **OURS, zorder=3, label="ours")]
        for inside, look in LOOKS.items():
            keys += ax.plot(of["published"].where(of["matches"] == inside), y, **look)
        if chance is not None:
            ax.set_xlim(ax.get_xlim())  # the mark of guessing must not extend the axis
            ax.axvline(chance, **style.CHANCE, zorder=1)
        ax.set_title(style.set_title(eval_set))
        ax.tick_params(axis="y", length=0)
        ax.locator_params(axis="x", nbins=4)
        style.in_percent(ax.xaxis)
    for proportion, block in zip(proportions, y.reshape(len(proportions), -1), strict=True):
        right = {"transform": panels[-1].get_yaxis_transform(), "va": "center", "size": 7}
        panels[-1].text(1.03, block.mean(), f"{proportion} %\ncue", linespacing=1.3, **right)
    panels[0].set_yticks(y, len(proportions) * [*methods.values()])
    panels[0].set_ylim(y[-1] + 0.7, -0.7)
    figure.supxlabel(style.quantity("accuracy"), fontsize=7.5)
    style.legend(figure, keys)
    return figure


def title(
    tables: Mapping[str, pd.DataFrame],
    *,
    groups: Mapping[str, str],
    methods: Mapping[str, str],
    published: str,
    **_: object,
) -> str:
    """State how many of the paper's numbers, and how much of its order, ours reproduce."""
    same = agreement(compared(tables, groups, methods, published))
    return (
        f"{same.ordered} of {same.pairs} pairs of methods are in the paper's order, and "
        f"{same.matched} of its {same.cells} numbers lie inside our intervals"
    )


def caption(*, chance: float | None = None, **_: object) -> str:
    """Describe what `draw` shows with the same options."""
    return (
        "Accuracy on the four test sets after fine-tuning on images without the cue, by the share "
        "of training images with it. Dots and bars: our means with their 95 % intervals over "
        "seeds. Diamonds: the means of three seeds that the paper reports, filled where our "
        "interval contains them (a wide interval contains more). Axes differ between sets. "
        f"BatchNorm as trained.{style.guessing(chance)} After MMC, Table 1."
    )


def compared(
    tables: Mapping[str, pd.DataFrame],
    groups: Mapping[str, str],
    methods: Iterable[str],
    published: str,
    start: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Return the rows of `published.beside`, by proportion.

    Args:
        tables: rows, of which `summary/probes` is read.
        groups: fine-tuning groups by cue proportion in percent.
        methods: labels of the methods within the groups.
        published: the dataset whose published numbers are used, possibly none.
        start: recipes that the groups start from, by proportion; shown first, as method `start`.
    """
    models = {
        proportion: {k: v for k, v in {"start": (start or {}).get(proportion)}.items() if v}
        | {label: f"{group}/{label}" for label in methods}
        for proportion, group in sorted(groups.items(), key=lambda item: float(item[0]))
    }
    recipes = [recipe for of in models.values() for recipe in of.values()]
    accuracy = {"diagnostic": "counterfactual", "metric": "accuracy"}
    means = rows.select(tables, "summary/probes", recipe=recipes, **accuracy)
    return beside(means, models, published)
