"""Do models change their cluster as training goes on? (LCRGS, section 4.4)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import hypergeom

from basins.figures import rows, style
from basins.figures.strategy import name_of
from basins.statistics.seeds import SHARES


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    early: str,
    final: str,
    slice: str,
    metric: str = "accuracy",
    measure: str = "convexity_gap",
) -> Figure:
    """Draw an arrow from each model's score early in training to that at the end.

    Its height is the metric at the end of training. Scores are relative to the largest of their
    experiment, so that both share a scale; colours are clusters at the end, and a model that was in
    another cluster early has a dashed arrow. Reads `clusters` and `probes`.

    Args:
        tables: rows of `results/` by the name of their table.
        early: the experiment with the models early in training.
        final: the experiment with the models at the end, of the same seeds.
        slice: the slice of the probe that gives the height.
        metric: what that probe measured.
        measure: the measure that clusters and scores come from.

    Raises:
        UserError: a table is missing or has no such rows.
    """
    moves = _moves(tables, early, final, measure).merge(
        rows.probed(tables, slice, metric), on="model"
    )
    starts, ends = (
        moves[column] / moves[column].abs().max() for column in ("score_early", "score")
    )
    clusters = sorted(moves["cluster"].unique())
    part = rows.part(tables, final, measure)
    names = [name_of(cluster, clusters, part) for cluster in clusters]
    colours = style.colours(names)
    figure = style.new(style.COLUMN_WIDTH, 2.5)
    ax = figure.subplots()
    was, cluster = (moves[name].astype(int).tolist() for name in ("cluster_early", "cluster"))
    for k, (start, end, value) in enumerate(zip(starts, ends, moves["value"], strict=True)):
        ax.annotate(
            "",
            (end, value),
            (start, value),
            arrowprops={
                "arrowstyle": "->",
                "color": colours[name_of(cluster[k], clusters, part)],
                "linestyle": "solid" if cluster[k] == was[k] else (0, (3, 2)),
                "linewidth": 1.1,
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )
    ax.plot(starts, moves["value"], "o", color="#333333", markersize=3.2, label="early")
    ax.axvline(0, color="black", linewidth=0.5, alpha=0.5)
    ax.set_xlim(-1.1, 1.1)
    ax.set_xticks([-1, -0.5, 0, 0.5, 1])
    ax.set_xlabel("score (relative to the largest), early → final")
    ax.set_ylabel(style.quantity(metric))
    if metric in SHARES:
        ax.set_ylim(-0.03, 1.03)
        style.in_percent(ax.yaxis)
    handles = [ax.plot([], [], color=colours[name], label=name)[0] for name in names]
    style.legend(figure, handles)
    return figure


def title(
    tables: Mapping[str, pd.DataFrame],
    *,
    early: str,
    final: str,
    measure: str = "convexity_gap",
    **_: object,
) -> str:
    """State how many models change their cluster, and how many would by chance."""
    moves = _moves(tables, early, final, measure)
    changed = (moves["cluster"].to_numpy() != moves["cluster_early"].to_numpy()).sum()
    models = "models changes" if changed == 1 else "models change"
    said = f"{changed} of {len(moves)} {models} groups between the early and the final division"
    if not _in_two(moves):
        return said
    smaller = [int(moves[name].to_numpy().sum()) for name in ("cluster", "cluster_early")]
    usual = by_chance(len(moves), *smaller)
    return f"{said} ({usual:.2g} if the two were independent)"


def by_chance(count: int, one: int, two: int) -> float:
    """Return how many models change between independent divisions into two groups.

    Of `count` models, `one` are in a group of the first division and `two` in one of the second. As
    in `_moves`, the groups have the names with which fewer models change.
    """
    both = np.arange(min(one, two) + 1)
    changed = one + two - 2 * both
    chances = hypergeom.pmf(both, count, one, two)
    return float(chances @ np.minimum(changed, count - changed))


def caption(
    *,
    early: str,
    final: str,
    slice: str,
    metric: str = "accuracy",
    measure: str = "convexity_gap",
) -> str:
    """Describe what `draw` shows with the same options.

    Args:
        early: the experiment with the models early in training.
        final: the experiment with the models at the end.
        slice: the slice of the probe that gives the height.
        metric: what that probe measured.
        measure: the measure that clusters and scores come from.
    """
    return (
        f"{style.sentence(metric)} on {style.on(slice)} at the end of training, against the score "
        f"of each model by its {style.display(measure)}s: early (dot, {style.display(early)}) "
        f"and at the end (tip, {style.display(final)}), in units of the largest. "
        "A dot without an arrow did not move. Colours: the best "
        "division at the end, whether or not a test shows clusters; dashed: models that were in "
        "the other group early. After LCRGS, section 4.4."
    )


def _moves(
    tables: Mapping[str, pd.DataFrame], early: str, final: str, measure: str
) -> pd.DataFrame:
    """Return the cluster and score of each model at the end and, as `..._early`, early.

    Cluster 0 is the larger one. If most models change between divisions into two, the early ones
    are renamed and their scores change signs: such groups only swapped their sizes.
    """
    before, after = (
        rows.select(tables, "clusters", experiment=name, measure=measure).assign(
            seed=lambda found: found["model"].map(rows.seed)
        )
        for name in (early, final)
    )
    moves = after.merge(before[["seed", "cluster", "score"]], on="seed", suffixes=("", "_early"))
    changed = moves["cluster"].to_numpy() != moves["cluster_early"].to_numpy()
    if _in_two(moves) and changed.mean() > 0.5:
        moves["cluster_early"] = 1 - moves["cluster_early"]
        moves["score_early"] *= -1
    return moves


def _in_two(moves: pd.DataFrame) -> bool:
    return {*moves["cluster"]} == {*moves["cluster_early"]} == {0, 1}
