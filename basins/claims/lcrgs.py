"""Claims of Linear Connectivity Reveals Generalization Strategies (arXiv 2205.12411).

This file has the claims about gaps, barriers and clusters; the others are in
`lcrgs_strategies.py` and `lcrgs_dynamics.py`. Clusters come from the convexity gaps in distribution
alone; there are two, as in the paper. Claims about them apply only where a test shows clusters.
Options refer to settings: `experiment` to `connect`, and `clusters` to the experiment whose models
were clustered, if that is another.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd

from basins.claims import lcrgs_dynamics, lcrgs_strategies
from basins.claims.ledger import Measured, Paper, Shown, measure
from basins.claims.pairs import BETWEEN, Factor, by_model, on, parted, typed_pairs
from basins.claims.results import SHARE, Results, cluster_test, learned, one, varied
from basins.errors import UserError
from basins.statistics.factorial import FACTORIAL, pairs, shared
from basins.statistics.seeds import jackknife, span

paper = Paper(
    "lcrgs",
    "Linear Connectivity Reveals Generalization Strategies",
    claims={**lcrgs_strategies.part.claims, **lcrgs_dynamics.part.claims},
)
GAPS = Shown(("convexity_gaps", "pair_types"), (), ("barriers",))
CLUSTERS = Shown(("convexity_gaps",), ("clusters",), ("barriers",))
FACTORS = Shown(("factorial",), (), ("barriers", "probes"))
TRIANGLES = CLUSTERS._replace(rows=("cluster_choice",))
CURVES = Shown(("path_grid",), (), ("barriers", "clusters"))
ANY_CURVES = Shown(("path_grid",), (), ("barriers",))

Stream = Literal["head", "order", "dropout"]
Which = Literal["between", "within", "all"]


@paper.above(
    "c1_gap", "Fig. 1, heat maps of convexity gaps", shown=GAPS, column="convexity_gap", which="all"
).says("The loss in distribution has a convexity gap between models fine-tuned from one encoder.")
@paper.above(
    "c2_missed", "definition of the convexity gap", shown=GAPS, column="missed", which="all"
).says("The convexity gap detects what the barrier above the chord misses.")
@paper.below("c7_midpoint", "Fig. 1", column="barrier_mid", which="within").says(
    "Halfway between two models of one cluster, the loss is lower than the mean of the two."
)
@paper.below(
    "c7_any", "related to Fig. 1", kind="ours", shown=GAPS, column="barrier_mid", which="all"
).says("Halfway between any two models of one encoder, the loss is lower than the mean of the two.")
@paper.below("c11_within", "transitivity", column="convexity_gap", which="within").says(
    "Models of one cluster are linearly connected: the convexity gap between them is small."
)
@paper.below(
    "c12_connected",
    "App. G, as cited",
    shown=CURVES,
    column="barrier_linear",
    which="between",
).says("A nonlinear path joins models of different clusters without a barrier in distribution.")
@paper.above(
    "c12_worse",
    "App. G, as cited",
    kind="ours",
    shown=CURVES,
    column="barrier_mid",
    which="between",
).says(
    "Halfway along a nonlinear path between clusters, the loss out of distribution is higher than "
    "the mean of its ends.",
    confound="the path's bend is trained for one epoch more than its ends",
)
@paper.below(
    "c12_any",
    "related to App. G",
    kind="ours",
    shown=ANY_CURVES,
    column="barrier_linear",
    which="all",
).says("A nonlinear path joins any two models of one encoder without a barrier in distribution.")
@paper.above(
    "c12_any_worse",
    "related to App. G",
    kind="ours",
    shown=ANY_CURVES,
    column="barrier_mid",
    which="all",
).says(
    "Halfway along a nonlinear path, the loss out of distribution is higher than the mean of its "
    "ends.",
    confound="the path's bend is trained for one epoch more than its ends",
)
@measure(GAPS, parted)
def mean_of_pairs(
    results: Results,
    *,
    experiment: str,
    eval_set: str,
    path: str = "linear",
    alignment: str = "none",
    clusters: str | None = None,
    column: str,
    which: Which,
) -> Measured:
    """Return the mean of a measure of the loss over some pairs."""
    ids = {"path": path, "alignment": alignment}
    if which == "all":
        rows = results.pairs(experiment, eval_set, **ids)
    else:
        rows = typed_pairs(results, experiment, eval_set, clusters, **ids)
        rows = rows.loc[(rows["pair_type"] == BETWEEN) == (which == "between")]
    rows = rows.assign(missed=rows["convexity_gap"] - rows["barrier_linear"])
    pairs = "all pairs" if which == "all" else f"pairs {which} clusters"
    name = "convexity_gap less barrier_linear" if column == "missed" else column
    words = f"mean {name} {on(rows)}, {pairs}"
    return Measured(words, results.mean(rows, column, span(column)), needs=pairs)


@paper.above("c1_ratio", "Fig. 1, heat maps of convexity gaps", column="convexity_gap").says(
    "The convexity gap between models of different clusters is many times that within clusters."
)
@measure(GAPS, parted)
def between_less_within(
    results: Results, *, experiment: str, eval_set: str, ratio: Factor, column: str
) -> Measured:
    """Return the mean of a measure between clusters, less `ratio` times that within."""
    rows = typed_pairs(results, experiment, eval_set)
    rows["value"] = rows[column] * np.where(rows["pair_type"] == BETWEEN, 1, ratio)
    words = f"mean {column} {on(rows)} between clusters, less {ratio:g} times that within"
    between = rows["pair_type"] == BETWEEN
    interval = results.contrast(rows.loc[between], rows.loc[~between])
    return Measured(words, interval, needs="pairs between and within clusters")


@paper.above(
    "c12_across", "related to App. G", kind="control", shown=ANY_CURVES, column="barrier_mid"
).says(
    "Halfway along a nonlinear path, the loss out of distribution exceeds the mean of its ends by "
    "more between clusters than within."
)
@measure(GAPS, parted)
def across(
    results: Results, *, experiment: str, eval_set: str, path: str, clusters: str, column: str
) -> Measured:
    """Return by how much a measure is higher between clusters, which are part of the estimate."""
    rows = results.pairs(experiment, eval_set, path=path)
    words = f"{column} {on(rows)}, between clusters less within, adjusted for models"
    return Measured(words, results.between(rows, column, clusters))


@paper.above("c12_selves", "related to App. G", kind="ours", shown=ANY_CURVES).says(
    "Halfway along a nonlinear path between two models, the loss out of distribution is higher "
    "than halfway along paths from each to itself, whose bends are trained equally long."
)
@measure(ANY_CURVES)
def selves(
    results: Results,
    *,
    experiment: str,
    selves: str,
    path: str,
    eval_set: str,
    column: str = "barrier_mid",
) -> Measured:
    """Return a mean measure over pairs, less that of paths from each of their models to itself.

    Both are relative to the mean of a path's ends, so the ends cancel in the difference.
    """
    rows = results.pairs(experiment, eval_set, path=path)
    alone = results.pairs(selves, eval_set, path=path)
    of = dict(zip(alone["model_a"], alone[column], strict=True))
    if missing := sorted({*rows["model_a"], *rows["model_b"]} - of.keys()):
        raise UserError(f"{selves} has no path from {missing[0]} to itself")
    ends = np.array([[of[model] for model in rows[side]] for side in ("model_a", "model_b")])
    rows = rows.assign(value=rows[column].to_numpy() - ends.mean(0))
    words = f"{column} {on(rows)}, less that of paths from its models to themselves"
    return Measured(words, results.mean(rows))


@paper.test("c3_several", "clusters by convexity gap").says(
    "The convexity gaps split the models of one recipe into clusters, which noise would not do."
)
@paper.test("control_forced", "related to the clusters", kind="control").says(
    "Models whose training data force one of two strategies on them fall into clusters."
)
@paper.test("control_planted", "related to the clusters", kind="control").says(
    "Models that begin at one of two planted starting points fall into clusters, as they should."
)
@paper.test("control_basin", "related to the clusters", kind="control").says(
    "Runs that fork near the end of training fall into clusters, although they should not."
)
@measure(CLUSTERS)
def several(results: Results, *, experiment: str) -> Measured:
    """Return the p of the test for clusters."""
    return Measured(f"p of the test for clusters, {experiment}", cluster_test(results, experiment))


@paper.above("c3_alone", "related to the clusters", kind="ours", shown=GAPS).says(
    "Some models of one head are connected to no other model."
)
@measure(GAPS)
def alone(results: Results, *, experiment: str, size: Factor) -> Measured:
    """Return the share of models whose lowest barrier to any other exceeds `size`."""
    rows = results.gaps(experiment)
    both = [
        rows[[side, "barrier_linear"]].set_axis(["model", "value"], axis=1)
        for side in ("model_a", "model_b")
    ]
    least: pd.Series = pd.concat(both).groupby("model")["value"].min()  # pyright: ignore
    words = f"share of models whose lowest barrier_linear exceeds {size:g} ({experiment})"
    hits, models = (least > size).to_numpy(float), [least.index.to_numpy(str)]
    interval = jackknife(hits, models, results.confidence, outcomes=True)
    return Measured(words, interval | {"bounds": SHARE})


@paper.above("head_apart", "related to Fig. 1", kind="ours", shown=GAPS).says(
    "The barrier is higher between models with a new head or pooler each than between models that "
    "share one.",
    confound="those that share one share the same one: with another, the barrier may differ less",
)
@paper.below("head_probed", "related to Fig. 1", kind="ours", shown=GAPS).says(
    "Training the new heads first, on the fixed encoder, lowers the barrier between models."
)
@paper.below("head_matched", "related to Fig. 1", kind="ours", shown=GAPS).says(
    "Matching their units lowers the barrier between models with a new head each."
)
@measure(GAPS)
def further(
    results: Results,
    *,
    experiment: str,
    against: str,
    eval_set: str,
    alignment: str = "none",
    column: str = "barrier_linear",
) -> Measured:
    """Return the mean of a measure over the pairs of one experiment, less that over another's."""
    rows = results.pairs(experiment, eval_set, alignment=alignment)
    others = results.pairs(against, eval_set)
    words = f"mean {column} {on(rows)}, less that of {against}"
    return Measured(words, results.contrast(rows, others, column))


def differing(results: Results, options: Mapping[str, Any]) -> str:
    """Return why models have no strategies to compare, if the claim is about strategies."""
    if not options.get("slice"):
        return ""
    return learned(results, options) or varied(results, options)


@paper.above("share_of", "related to Fig. 1", kind="ours").says(
    "One random factor of fine-tuning explains a substantial share of the differences between "
    "models."
)
@measure(FACTORS, differing)
def share_of(
    results: Results, *, aspect: str, experiment: str, factor: Stream, slice: str | None = None
) -> Measured:
    """Return the share of the barrier, or of the variance of a diagnostic, a factor explains."""
    rows = _factorial(results, aspect, experiment, slice)
    words = f"share of {_explained(slice)} explained by the {factor} ({experiment})"
    return Measured(words, results.over_factors(partial(shared, rows, factor), rows, factor))


@paper.above("share_more", "related to Fig. 1", kind="ours").says(
    "The head explains more of how far apart models are than the order of the rows does."
)
@measure(FACTORS, differing)
def share_more(
    results: Results, *, aspect: str, experiment: str, slice: str | None = None
) -> Measured:
    """Return the share that the head explains, less that of the order."""
    rows = _factorial(results, aspect, experiment, slice)

    def more(kept: np.ndarray) -> float:
        return shared(rows, "head", kept) - shared(rows, "order", kept)

    words = (
        f"share of {_explained(slice)} explained by the head, less that by the order ({experiment})"
    )
    return Measured(words, results.over_factors(more, rows))


@paper.below("c11_triangles", "transitivity").says(
    "The convexity gap is nearly transitive: it violates the triangle inequality by little, if at "
    "all.",
    confound="the excess is small for any gaps that vary little, and large for any that vary much: "
    "in gaps without structure whose deviation is .33 of their mean it is .02, at .6 it is .2",
)
@measure(TRIANGLES)
def triangles(results: Results, *, experiment: str) -> Measured:
    """Return by how much the longest of three gaps exceeds the sum of the others, in mean gaps."""
    ids = {"experiment": experiment, "measure": "convexity_gap", "statistic": "triangle_excess"}
    words = f"mean excess of a triangle's longest gap, divided by the mean gap, {experiment}"
    return Measured(words, one(results.rows("cluster_choice", **ids).iloc[0], "estimate"))


@paper.below("c8_plateau", "Fig. 1").says(
    "Out of distribution, the barrier between clusters is small relative to the difference between "
    "the ends of the path."
)
@measure(GAPS, parted)
def plateau(results: Results, *, experiment: str, eval_set: str, share: Factor) -> Measured:
    """Return the barrier above the worse end, less a share of the ends' difference."""
    rows = typed_pairs(results, experiment, eval_set)
    rows = rows.loc[rows["pair_type"] == BETWEEN]
    change = 2 * (rows["barrier_mean"] - rows["barrier_endpoint"])  # of the loss, end to end
    rows = rows.assign(value=rows["barrier_endpoint"] - share * change)
    words = (
        f"barrier_endpoint {on(rows)} between clusters, less {share:g} times the ends' difference"
    )
    return Measured(f"mean {words}", results.mean(rows))


def _factorial(results: Results, aspect: str, experiment: str, slice_: str | None) -> pd.DataFrame:
    """Return the pairs of a factorial with their barrier in distribution or a diagnostic."""
    rows = results.gaps(experiment)
    levels: dict[str, Any] = {
        factor: results.aspect(aspect, "B2", f"level, {factor}").set_index("models")["value"]
        for factor in FACTORIAL
    }
    strategy = None if slice_ is None else by_model(results, experiment, slice_, "accuracy")
    return pairs(rows, levels, strategy)


def _explained(slice_: str | None) -> str:
    if slice_ is None:
        return "the barrier_linear"
    return f"the variance of the accuracy on {slice_}"
