"""Claims made of the four aspects of *SoK: On Finding Common Ground in Loss Landscapes*.

The survey (arXiv 2410.12927, from its second version on "Deep Model Merging: The Sister of Neural
Network Interpretability") has neither experiments nor thresholds: every test is operationalised
here, and every claim is ours. Claims read `aspects/<aspect>`, which an `aspect` of the params
measured, or `barriers`; those about merges are in `sok_merging.py`. Losses are in nats. Intervals
are simultaneous: with m claims, each has confidence 1 - (1 - confidence) / m (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field
from scipy.sparse.csgraph import connected_components

from basins.claims import sok_merging
from basins.claims.aspects import ends, experiment_of, lines, lowered, whole
from basins.claims.ledger import Measured, Paper, Shown, measure
from basins.claims.results import ANY, DIFFERENCE, LOSS, SHARE, EvalSet, Results, clustered
from basins.landscape.persistence import bottleneck, merge_tree
from basins.statistics.cluster_rows import WITHIN

paper = Paper(
    "sok",
    "SoK: On Finding Common Ground in Loss Landscapes",
    "ours",
    together=True,
    claims={**sok_merging.part.claims},
)
CONVEXITY = Shown(("aspect_convexity",), (), ("aspects/{aspect}",))
DETERMINISM = Shown(("instability",), (), ("aspects/{aspect}",))
DIRECTEDNESS = Shown(("directedness",), (), ("aspects/{aspect}",))
CONNECTIVITY = Shown(("merge_tree", "layerwise"), (), ("aspects/{aspect}",))
LINES = Shown(("path_grid", "barrier_matrix"), ("barriers",), ("barriers",))
ASPECTS = {"A": "convexity", "B": "determinism", "C": "directedness", "D": "connectivity"}
Step = Annotated[int, Field(ge=0)]
Size = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _at(test: str) -> str:
    return f"mode {ASPECTS[test[0]]}, operationalised here as test {test}"


def parted(results: Results, options: Mapping[str, Any]) -> str:
    """Return why no clusters are shown among the models of an aspect, or nothing."""
    return clustered(results, experiment_of(results, options["aspect"]))


@paper.below("a1_within", _at("A1"), quantity="barrier_linear").says(
    "The straight path between two models of one cluster has no barrier."
)
@paper.above("a1_convex", _at("A1"), quantity="second difference").says(
    "The loss is convex along straight paths between models of one cluster."
)
@measure(CONVEXITY, parted)
def within(results: Results, *, aspect: str, quantity: str) -> Measured:
    """Return the mean of a quantity over pairs within clusters, which are cross-fitted."""
    rows = results.typed(lines(results, aspect, quantity), experiment_of(results, aspect))
    rows = rows.loc[rows["pair_type"] == WITHIN]
    bounds = LOSS if "barrier" in quantity else ANY
    return Measured(f"mean {quantity} within clusters", results.mean(rows, bounds=bounds))


@paper.below("a4_star", _at("A4")).says(
    "A cluster is star-shaped: there is no barrier between its centroid and its models."
)
@measure(CONVEXITY, parted)
def star(results: Results, *, aspect: str) -> Measured:
    """Return the mean barrier between models and the centroid of their cluster."""
    rows = results.aspect(aspect, "A4", "star barrier", group="within")
    interval = results.steady(results.mean(rows, bounds=LOSS), experiment_of(results, aspect))
    return Measured("mean star barrier within clusters", interval)


@paper.above("a2_apart", _at("A2")).says(
    "Mixtures of models across clusters violate Jensen's inequality by more than mixtures within "
    "one."
)
@measure(CONVEXITY, parted)
def mixed(results: Results, *, aspect: str) -> Measured:
    """Return the Jensen gap between clusters less that within, for sets of the same sizes."""
    sides = [results.aspect(aspect, "A2", "jensen", group=g) for g in ("between", "within")]
    sizes = [*{*sides[0]["x"]} & {*sides[1]["x"]}]
    between, inside = (rows.loc[rows["x"].isin(sizes)] for rows in sides)
    interval = results.steady(results.contrast(between, inside), experiment_of(results, aspect))
    words = "mean Jensen gap between clusters, less that within"
    return Measured(words, interval, needs="two clusters")


@paper.below("a2_within", _at("A2")).says(
    "Mixtures of models of one cluster satisfy Jensen's inequality, however many are mixed."
)
@measure(CONVEXITY, parted)
def broken(results: Results, *, aspect: str, margin: Size) -> Measured:
    """Return the share of mixtures within clusters whose Jensen gap exceeds `margin`."""
    rows = results.aspect(aspect, "A2", "jensen", group="within")
    rows = rows.assign(value=(rows["value"] > margin).astype(float))
    words = f"mean share of mixtures within clusters whose Jensen gap exceeds {margin:g}"
    interval = results.steady(results.mean(rows, bounds=SHARE), experiment_of(results, aspect))
    return Measured(words, interval)


@paper.above("a3_soup", _at("A3"), quantity="soup gain").says(
    "The soup of a cluster's models has a lower loss than the models have on average."
)
@paper.below("a3_ensemble", _at("A3"), quantity="soup less ensemble").says(
    "The soup of a cluster's models is as good as their ensemble."
)
@measure(CONVEXITY, parted)
def soup(results: Results, *, aspect: str, quantity: str) -> Measured:
    """Return a quantity of the soup of the largest cluster."""
    rows = results.aspect(aspect, "A3", quantity, group="within", x=0)
    found = whole(results, f"{quantity} of the largest cluster", rows, "clusters of three")
    interval = results.steady(found.interval, experiment_of(results, aspect))
    return found._replace(interval=interval)


@paper.below("a5_flatter", _at("A5"), quantity="top eigenvalue").says(
    "The loss is flatter at the midpoint between two models than at the models."
)
@paper.above("a5_wider", _at("A5"), quantity="radius").says(
    "The loss stays low over a larger radius around the midpoint between two models than around "
    "the models."
)
@measure(CONVEXITY)
def places(results: Results, *, aspect: str, quantity: str) -> Measured:
    """Return a quantity at midpoints, less that at models."""
    names = (f"{quantity}, {place}" for place in ("midpoint", "end"))
    middle, end = (results.aspect(aspect, "A5", name) for name in names)
    words = f"mean {quantity} at midpoints, less that at models"
    return Measured(words, results.contrast(middle, end))


@paper.above("b1_early", _at("B1")).says(
    "Runs that fork early in training end with a barrier between them."
)
@measure(DETERMINISM)
def instability(results: Results, *, aspect: str, step: Step) -> Measured:
    """Return the barrier between runs that fork after `step` steps; parents are the units."""
    rows = results.aspect(aspect, "B1", "instability", x=step)
    words = f"mean barrier between runs that fork after {step} steps, over parents"
    return Measured(words, results.mean(rows.assign(unit=rows["group"])), needs="forked runs")


@paper.above("b2_init", _at("B2")).says(
    "The barrier is lower between models that start from the same head than between models that "
    "see the same order."
)
@measure(DETERMINISM)
def by_head(results: Results, *, aspect: str) -> Measured:
    """Return the barrier between models of one order, less that of one head; heads are the units.

    Models that are joined by pairs of one head share that head.
    """
    order, head = (
        results.aspect(aspect, "B2", "barrier", group=g) for g in ("same order", "same head")
    )
    models, names = pd.factorize(np.concatenate([*ends(order), *ends(head)]))
    (a, b), (c, d) = (models.reshape(2, -1) for models in np.split(models, [2 * len(order)]))
    joined = np.zeros((len(names), len(names)))
    joined[c, d] = 1
    _, heads = connected_components(joined, directed=False)
    order = order.assign(unit_a=heads[a], unit_b=heads[b])
    head = head.assign(unit_a=heads[c], unit_b=heads[d])
    words = "mean barrier between models of one order, less that of one head, over heads"
    return Measured(words, results.contrast(order, head), needs="factorials of heads and orders")


@paper.above("b2_cluster", _at("B2")).says(
    "The head that a model starts from predicts its cluster better than the order of its batches."
)
@measure(DETERMINISM, parted)
def information(results: Results, *, aspect: str) -> Measured:
    """Return the NMI of the cluster with the head, less that with the order."""
    head, order = (
        results.aspect(aspect, "B2", f"nmi, {factor}", null=0) for factor in ("head", "order")
    )
    both = head.merge(order, on="models", suffixes=("", "_order"))
    both = both.assign(value=both["value"] - both["value_order"])
    words = "NMI of the cluster with the head, less that with the order"
    rough = "mutual information depends on counts of models"
    return whole(results, words, both, "clusters of a factorial", DIFFERENCE, rough)


@paper.above("b3_early", _at("B3")).says(
    "Early in training, the weights predict the cluster in which training will end."
)
@measure(DETERMINISM, parted)
def early(results: Results, *, aspect: str, step: Step, feature: str = "auc, weights") -> Measured:
    """Return how well early weights predict the final cluster."""
    rows = results.aspect(aspect, "B3", feature, x=step)
    words = f"{feature} of the final cluster after {step} steps"
    rough = "the area counts pairs of models, and each model is scored by all others"
    return whole(results, words, rows, "early checkpoints", SHARE, rough)


@paper.above("b4_chaos", _at("B4")).says(
    "Models whose weights were slightly perturbed early on end with a barrier to unperturbed ones."
)
@measure(DETERMINISM)
def perturbed(results: Results, *, aspect: str, size: Size) -> Measured:
    """Return the barrier between a perturbed model and its control."""
    rows = results.aspect(aspect, "B4", "barrier", x=size)
    words = f"mean barrier after a perturbation of {size:g}"
    return Measured(words, results.mean(rows), needs="perturbed models")


@paper.above("c5_shared", _at("C5"), test="C5", quantity="cosine").says(
    "Task vectors of one task share a direction across seeds."
)
@paper.above("d5_together", _at("D5"), shown=CONNECTIVITY, test="D5", quantity="interaction").says(
    "The barrier arises from layers jointly: the barriers of single layers do not add up to it."
)
@paper.below(
    "d7_volume", _at("D7"), shown=CONNECTIVITY, test="D7", quantity="simplex loss excess"
).says("Models span a volume of low loss.")
@measure(DIRECTEDNESS)
def mean(results: Results, *, aspect: str, test: str, quantity: str) -> Measured:
    """Return the mean of a quantity over models, or sets of them."""
    rows = results.aspect(aspect, test, quantity, null=0)
    bounds = DIFFERENCE if quantity == "cosine" else ANY
    return Measured(f"mean {quantity}", results.mean(rows, bounds=bounds))


@paper.above("c4_direction", _at("C4")).says(
    "The direction between two clusters transfers their behaviour to models that were not used to "
    "find it."
)
@measure(DIRECTEDNESS, parted)
def direction(results: Results, *, aspect: str) -> Measured:
    """Return the slope along the direction, less the mean of directions by shuffled labels."""
    slopes = results.aspect(aspect, "C4", "slope", null=0)
    nulls = results.aspect(aspect, "C4", "slope", null=1, group="shuffled labels")
    usual = {m: part["value"].mean() for m, part in nulls.groupby("models")}
    slopes = slopes.assign(value=slopes["value"] - [usual.get(m, np.nan) for m in slopes["models"]])
    words = "mean slope along the direction, less that of directions by shuffled labels"
    return Measured(words, results.mean(slopes.loc[slopes["value"].notna()]))


@paper.above("c4_predictable", _at("C4")).says(
    "Along the direction between two clusters, behaviour changes linearly."
)
@measure(DIRECTEDNESS, parted)
def proportion(results: Results, *, aspect: str) -> Measured:
    """Return R^2 along the direction between two clusters."""
    rows = results.aspect(aspect, "C4", "r2")
    return Measured("mean R^2 along the direction", results.mean(rows, bounds=(-np.inf, 1)))


@paper.below("c6_asymmetric", _at("C6")).says(
    "Around a model, the loss rises less towards the other models than away from them."
)
@measure(DIRECTEDNESS)
def asymmetry(results: Results, *, aspect: str) -> Measured:
    """Return the asymmetry towards the others' centroid, less that along random directions."""
    rows = results.aspect(aspect, "C6", "asymmetry")
    rows = rows.loc[rows["x"] == rows["x"].max()]
    null = rows["null"] == 1
    words = "mean asymmetry towards the others' centroid, less that of random directions"
    return Measured(words, results.contrast(rows.loc[~null], rows.loc[null]))


@paper.below("d1_component", _at("D1")).says(
    "All models form one connected component: a spanning tree joins them without barriers."
)
@measure(CONNECTIVITY)
def spanning(results: Results, *, aspect: str) -> Measured:
    """Return the mean barrier along the minimum spanning tree of all models."""
    rows, pairs, count = _graph(results, aspect)
    born, edges = np.full(count, -np.inf), rows["value"].to_numpy()

    def tree(kept: np.ndarray) -> float:
        heights = merge_tree(born, pairs[kept], edges[kept]).deaths  # its edges, by Kruskal
        joined = heights[np.isfinite(heights)]
        return float(joined.mean()) if len(joined) else np.nan

    interval = results.leave_out(tree, rows, LOSS)
    return Measured("mean barrier along the minimum spanning tree of barriers", interval)


@paper.above("d2_through", _at("D2")).says(
    "Models with a barrier between them are connected through other models."
)
@measure(CONNECTIVITY)
def through(results: Results, *, aspect: str, margin: Size) -> Measured:
    """Return the share of pairs with a barrier above `margin` that others join without one."""
    rows, pairs, count = _graph(results, aspect)
    edges = rows["value"].to_numpy()

    def joined(kept: np.ndarray) -> float:
        barriers = np.full((count, count), np.nan)
        for a, b in (pairs[kept].T, pairs[kept].T[::-1]):
            barriers[a, b] = edges[kept]
        apart = barriers > margin
        return float((bottleneck(barriers)[apart] < margin).mean()) if apart.any() else np.nan

    words = f"share of the pairs with a barrier above {margin:g} that others join below it"
    interval = results.leave_out(joined, rows, SHARE)
    return Measured(words, interval, needs=f"pairs with a barrier above {margin:g}")


def _graph(results: Results, aspect: str) -> tuple[pd.DataFrame, np.ndarray, int]:
    """Return the rows of all barriers [n], the numbers of their models [n, 2], and how many."""
    rows = results.aspect(aspect, "D1", "barrier", null=0)
    numbers, names = pd.factorize(np.concatenate(ends(rows)))
    return rows, numbers.reshape(2, -1).T, len(names)


@paper.above("d3_curve", _at("D3"), shown=LINES).says(
    "A fitted curve has a lower barrier than the straight line between the same models."
)
@measure(LINES)
def by_curve(
    results: Results, *, experiment: str, straight: str, path: str, eval_set: EvalSet
) -> Measured:
    """Return by how much the barrier of a curve is lower than that of the straight line.

    Args:
        results: the rows.
        experiment: the experiment of `connect` with the curves.
        straight: the experiment with the straight lines of the same pairs.
        path: the kind of curve.
        eval_set: what the loss is measured on.
    """
    words = f"barrier on {eval_set.upper()} of the straight line, less that of {path}"
    line, curve = (straight, {}), (experiment, {"path": path})
    return lowered(results, words, eval_set, line, curve)


@paper.above("d4_units", _at("D4"), by="units").says(
    "Permuting the units of one model to match the other's lowers the barrier between them."
)
@paper.above("d4_statistics", _at("D4"), by="statistics").says(
    "After matching, recomputing BatchNorm statistics along the path lowers the barrier further."
)
@measure(LINES)
def aligned(
    results: Results,
    *,
    experiment: str,
    alignment: str,
    eval_set: EvalSet,
    by: Literal["units", "statistics"],
) -> Measured:
    """Return by how much matching, or new BatchNorm statistics after it, lower the barrier.

    Args:
        results: the rows.
        experiment: one of `connect`.
        alignment: how the second model is matched to the first.
        eval_set: what the loss is measured on.
        by: what is changed: the matching of units, or then the BatchNorm statistics.
    """
    usual, words = {}, f"barrier on {eval_set.upper()}, less that after {alignment}"
    if by == "statistics":
        usual = {"alignment": alignment, "batchnorm": "interpolate"}
        words = f"barrier after {alignment} on {eval_set.upper()}, less that with reset"
    return lowered(
        results, words, eval_set, (experiment, usual), (experiment, {"alignment": alignment})
    )


@paper.below("d6_diagnostic", _at("D6")).says(
    "Models without a barrier between them in distribution have none on a diagnostic set either."
)
@measure(CONNECTIVITY)
def diagnostic(results: Results, *, aspect: str, diagnostic: str, epsilon: Size) -> Measured:
    """Return the barrier on a diagnostic of pairs whose barrier in distribution is < `epsilon`."""
    domain = results.aspect(aspect, "D1", "barrier", null=0)
    joined = domain.loc[domain["value"] < epsilon, "models"]
    rows = results.aspect(aspect, "D6", f"barrier, {diagnostic}", null=0)
    words = f"mean barrier on {diagnostic} of pairs with one below {epsilon:g} in distribution"
    interval = results.mean(rows.loc[rows["models"].isin(joined)])
    return Measured(
        words, interval, needs=f"pairs with a barrier below {epsilon:g} in distribution"
    )
