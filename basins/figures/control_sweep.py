"""The control of Conjecture 1 as a function of a setting, such as the width.

If the barrier that remains after matching is due to mechanisms, then with wider networks it stays
between models of different data and vanishes between models of the same data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field

from basins.figures import rows, style
from basins.figures.control import BARRIER, LOOKS, by_alignment, means


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiments: Annotated[dict[str, str], Field(min_length=2)],
    setting: str,
    alignments: Annotated[list[str], Field(min_length=1, max_length=4)],
    batchnorm: str,
    eval_set: str,
    path: str = "linear",
) -> Figure:
    """Draw the mean barrier of the error of each kind of pair, a panel per alignment.

    Reads `summary/invariance`, whose intervals over seeds are the bars.

    Args:
        tables: rows of `results/` by the name of their table.
        experiments: one of `connect` for each value of the setting, by the value, 2 or more.
        setting: the name of the setting, in words.
        alignments: how the second model of a pair was matched to the first, 1 to 4.
        batchnorm: the BatchNorm mode along the path.
        eval_set: the evaluation set of the barrier.
        path: the kind of path.

    Raises:
        UserError: a table is missing or has no such rows.
    """
    chosen = {"path": path, "batchnorm": batchnorm, "eval_set": eval_set, "metric": "error"}
    chosen |= {"quantity": "barrier"}
    figure, panels = by_alignment(alignments, 2.6)
    places = {name: place for place, name in enumerate(experiments.values())}
    handles = {}
    for alignment, ax in zip(alignments, panels, strict=True):
        found = rows.select(
            tables, "summary/invariance", experiment=places, alignment=alignment, **chosen
        )
        for shift, (kind, look) in enumerate(LOOKS.items()):
            mean = found.loc[found["kind"] == kind]
            if mean.empty:
                continue
            at = mean["experiment"].map(places) + 0.06 * (shift - 1.5)
            ends = (mean["mean"] - mean["ci_low"], mean["ci_high"] - mean["mean"])
            ax.errorbar(at, mean["mean"], ends, elinewidth=1.2, label=kind, **look)
            handles[kind] = ax.plot([], [], label=kind, **look)[0]
        ax.axhline(0, **style.CHANCE)
        ax.set_xticks(range(len(experiments)), list(experiments))
        ax.set_xlabel(setting)
    panels[0].set_ylabel(BARRIER)
    style.in_percent(panels[0].yaxis)
    style.legend(figure, [handles[kind] for kind in LOOKS if kind in handles])
    return figure


def title(
    tables: Mapping[str, pd.DataFrame],
    *,
    experiments: Mapping[str, str],
    setting: str,
    alignments: Sequence[str],
    **options: str,
) -> str:
    """State the same as `control.title`, at the first and the last value of the setting."""
    first, last = (
        means(tables, experiments=[experiments[end]], alignments=alignments, **options)
        for end in ([*experiments][0], [*experiments][-1])
    )
    return (
        f"With {style.display(alignments[-1])}, barriers for the same and for different data: "
        f"{first[0]:.0f} and {first[1]:.0f} points of error at {[*experiments][0]}, "
        f"{last[0]:.0f} and {last[1]:.0f} at {[*experiments][-1]} ({setting})"
    )


def caption(
    *,
    experiments: Mapping[str, str],
    setting: str,
    alignments: Sequence[str],
    batchnorm: str,
    eval_set: str,
    path: str = "linear",
) -> str:
    """Describe what `draw` shows with the same options.

    Args:
        experiments: one of `connect` for each value of the setting, by the value.
        setting: the name of the setting, in words.
        alignments: not mentioned, since the panels name them.
        batchnorm: the BatchNorm mode along the path.
        eval_set: the evaluation set of the barrier.
        path: the kind of path.
    """
    return (
        f"Mean barrier of the error on {style.on(eval_set)} along a {style.display(path)}, "
        f"by the training data of the two models, against the {setting} "
        f"({', '.join(experiments)}), with 95 % intervals over seeds ({style.display(batchnorm)}). "
        "A barrier between models of the same data is not due to different mechanisms."
    )
