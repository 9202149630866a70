"""Claims made of the four aspects of *SoK: On Finding Common Ground in Loss Landscapes*.

The survey (arXiv 2410.12927, from its second version on "Deep Model Merging: The Sister of Neural
Network Interpretability") has neither experiments nor thresholds: every test is operationalised and
tested here, and every claim is ours. Each reads `aspects/<aspect>`, which an `aspect` of the params
measured, or `barriers`; losses are nats. All are held at once: with m claims, each interval has
confidence 1 - (1 - confidence) / m (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from basins.claims.ledger import Measured, Paper, Shown, measure
from basins.claims.results import ANY, DIFFERENCE, LOSS, SHARE, Bounds, EvalSet, Results, clustered

paper = Paper("sok", "SoK: On Finding Common Ground in Loss Landscapes", "ours", together=True)
CONVEXITY = Shown(("aspect_convexity",), (), ("aspects/{aspect}",))
DETERMINISM = Shown(("instability",), (), ("aspects/{aspect}",))
DIRECTEDNESS = Shown(("directedness",), (), ("aspects/{aspect}",))
CONNECTIVITY = Shown(("merge_tree", "layerwise"), (), ("aspects/{aspect}",))
LINES = Shown(("path_grid", "barrier_matrix"), ("barriers",), ("barriers",))
ASPECTS = {"A": "convexity", "B": "determinism", "C": "directedness", "D": "connectivity"}
Step = Annotated[int, Field(ge=0)]
Size = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Null = Literal["shuffled labels", "random direction"]


def _at(test: str) -> str:
    return f"mode {ASPECTS[test[0]]}, operationalised here as test {test}"


def parted(results: Results, options: Mapping[str, Any]) -> str:
    """Say that no clusters are shown of the models that an aspect is about, where that is so."""
    return clustered(results, _experiment(results, options["aspect"]))


def _experiment(results: Results, aspect: str) -> str:
    """Return the experiment that clustered the models of an aspect."""
    rows = results.rows(f"aspects/{aspect}")
    found = results.rows("clusters", measure="convexity_gap")
    known = {str(name): {*part["model"]} for name, part in found.groupby("experiment")}
    models = {m for part in rows["models"].dropna() for m in str(part).split(" + ")}
    shared = {name: len(models & part) for name, part in known.items()}
    return max(shared, key=lambda name: (shared[name], -len(known[name])))


@paper.below("a1_within", _at("A1"), test="A1", quantity="barrier_linear").says(
    "No barrier lies on the straight path between models of one cluster."
)
@paper.above("a1_convex", _at("A1"), test="A1", quantity="second difference").says(
    "The loss is convex along straight paths between models of one cluster."
)
@paper.below("a4_star", _at("A4"), test="A4", quantity="star barrier").says(
    "A cluster is star-shaped: no barrier lies between its centroid and its models."
)
@measure(CONVEXITY, parted)
def within(results: Results, *, aspect: str, test: str, quantity: str) -> Measured:
    """Return the mean of a quantity within clusters."""
    rows = results.aspect(aspect, test, quantity, group="within")
    bounds = LOSS if "barrier" in quantity else ANY
    return Measured(f"mean {quantity} within clusters", results.mean(rows, bounds=bounds))


@paper.above("a1_apart", _at("A1")).says(
    "The barrier is higher between models of different clusters than within one."
)
@measure(CONVEXITY, parted)
def apart(results: Results, *, aspect: str) -> Measured:
    """Return by how much the barrier is higher between clusters, which are a part of that."""
    sides = (results.aspect(aspect, "A1", "barrier_linear", group=g) for g in ("between", "within"))
    rows = pd.concat(sides)
    pairs = pd.DataFrame(rows["models"].str.split(" + ", regex=False).to_list(), rows.index)
    rows = rows.assign(model_a=pairs.get(0), model_b=pairs.get(1))
    words = "barrier_linear, between clusters less within, at equal effects of models"
    if rows.empty:
        return Measured(words, results.mean(rows), needs="pairs of clustered models")
    return Measured(words, results.between(rows, "value", _experiment(results, aspect)))


@paper.above("a2_apart", _at("A2")).says(
    "Mixtures across clusters break Jensen's inequality by more than those within one."
)
@measure(CONVEXITY, parted)
def mixed(results: Results, *, aspect: str) -> Measured:
    """Return Jensen's gap between clusters, less that within, of sets as large."""
    sides = [results.aspect(aspect, "A2", "jensen", group=g) for g in ("between", "within")]
    sizes = [*{*sides[0]["x"]} & {*sides[1]["x"]}]
    between, inside = (rows.loc[rows["x"].isin(sizes)] for rows in sides)
    # Sets of models have no test with the clustering inside, as pairs have (`apart`).
    undecided = {"decides": False, "note": "clusters are taken as given"}
    interval = results.contrast(between, inside) | undecided
    words = "mean jensen between clusters, less that within"
    return Measured(words, interval, needs="two clusters")


@paper.below("a2_within", _at("A2")).says(
    "Mixtures of models of one cluster obey Jensen's inequality, however many are mixed."
)
@measure(CONVEXITY, parted)
def broken(results: Results, *, aspect: str, margin: Size) -> Measured:
    """Return the share of mixtures within clusters that break it by more than `margin`."""
    rows = results.aspect(aspect, "A2", "jensen", group="within")
    rows = rows.assign(value=(rows["value"] > margin).astype(float))
    words = f"mean share of mixtures within clusters with J > {margin:g}"
    return Measured(words, results.mean(rows, bounds=SHARE))


@paper.above("a3_soup", _at("A3"), quantity="soup gain").says(
    "The soup of a cluster's models has a lower loss than they have on average."
)
@paper.below("a3_ensemble", _at("A3"), quantity="soup less ensemble").says(
    "The soup of a cluster's models is as good as their ensemble."
)
@measure(CONVEXITY, parted)
def soup(results: Results, *, aspect: str, quantity: str) -> Measured:
    """Return a quantity of the soup of the largest cluster."""
    rows = results.aspect(aspect, "A3", quantity, group="within", x=0)
    return _whole(results, f"{quantity} of the largest cluster", rows, "clusters of three")


@paper.below("a5_flatter", _at("A5"), quantity="top eigenvalue").says(
    "Half-way between two models the loss is flatter than at models."
)
@paper.above("a5_wider", _at("A5"), quantity="radius").says(
    "Half-way between two models the loss stays low further around than at models."
)
@measure(CONVEXITY)
def places(results: Results, *, aspect: str, quantity: str) -> Measured:
    """Return a quantity at midpoints, less that at models."""
    names = (f"{quantity}, {place}" for place in ("midpoint", "end"))
    middle, end = (results.aspect(aspect, "A5", name) for name in names)
    words = f"mean {quantity} at midpoints, less that at models"
    return Measured(words, results.contrast(middle, end))


@paper.above("b1_early", _at("B1")).says(
    "Runs that part early, after so few steps, end with a barrier between them."
)
@measure(DETERMINISM)
def instability(results: Results, *, aspect: str, step: Step) -> Measured:
    """Return the barrier between runs that part after `step` steps; parents are the units."""
    rows = results.aspect(aspect, "B1", "instability", x=step)
    words = f"mean barrier between runs that part after {step} steps, over parents"
    return Measured(words, results.mean(rows.assign(unit=rows["group"])), needs="forked runs")


@paper.above("b2_init", _at("B2")).says(
    "Models that start from the same head are nearer than those that see the same order."
)
@measure(DETERMINISM)
def by_head(results: Results, *, aspect: str) -> Measured:
    """Return the barrier between models of one order, less that of one head; heads are the units.

    Models of a head are those that pairs of one head join.
    """
    order, head = (
        results.aspect(aspect, "B2", "barrier", group=g) for g in ("same order", "same head")
    )
    pairs = pd.concat([order, head])["models"].str.split(" + ", regex=False)
    place = {model: k for k, model in enumerate(sorted({m for pair in pairs for m in pair}))}
    joined = np.zeros((len(place), len(place)))
    for pair in head["models"].str.split(" + ", regex=False):
        joined[place[pair[0]], place[pair[1]]] = 1
    _, heads = connected_components(joined, directed=False)
    order, head = (
        rows.assign(
            unit_a=[heads[place[m.split(" + ")[0]]] for m in rows["models"]],
            unit_b=[heads[place[m.split(" + ")[1]]] for m in rows["models"]],
        )
        for rows in (order, head)
    )
    words = "mean barrier between models of one order, less that of one head, over heads"
    return Measured(words, results.contrast(order, head), needs="factorials of heads and orders")


@paper.above("b2_cluster", _at("B2")).says(
    "The head that a model starts from tells its cluster better than the order of its batches."
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
    rough = "mutual information counts models"
    return _whole(results, words, both, "clusters of a factorial", DIFFERENCE, rough)


@paper.above("b3_early", _at("B3")).says(
    "After so few steps the weights tell which cluster training will end in."
)
@measure(DETERMINISM, parted)
def early(results: Results, *, aspect: str, step: Step, feature: str = "auc") -> Measured:
    """Return how well early weights tell the final cluster."""
    rows = results.aspect(aspect, "B3", feature, x=step)
    words = f"{feature} of the final cluster after {step} steps"
    rough = "the area counts pairs of models, each of which is scored by all others"
    return _whole(results, words, rows, "early checkpoints", SHARE, rough)


@paper.above("b4_chaos", _at("B4")).says(
    "Weights that were moved by so little, early on, end with a barrier to those that were not."
)
@measure(DETERMINISM)
def perturbed(results: Results, *, aspect: str, size: Size) -> Measured:
    """Return the barrier between a perturbed model and its control."""
    rows = results.aspect(aspect, "B4", "barrier", x=size)
    words = f"mean barrier after a perturbation of {size:g}"
    return Measured(words, results.mean(rows), needs="perturbed models")


@paper.above("c3_secant", _at("C3"), test="C3", quantity="share positive").says(
    "All along training, going down the gradient goes towards where it ends."
)
@paper.within("c5_additive", _at("C5"), test="C5", quantity="additivity").says(
    "Two task vectors together do what each does by itself."
)
@paper.above("c5_shared", _at("C5"), test="C5", quantity="cosine").says(
    "Task vectors of one task share a direction, whatever the seed."
)
@paper.above(
    "d2_through", _at("D2"), shown=CONNECTIVITY, test="D2", quantity="ultrametric defect"
).says("Models with a barrier between them are connected through others.")
@paper.above("d5_together", _at("D5"), shown=CONNECTIVITY, test="D5", quantity="interaction").says(
    "The barrier is made by layers together: single layers do not add up to it."
)
@paper.below(
    "d7_volume", _at("D7"), shown=CONNECTIVITY, test="D7", quantity="simplex loss excess"
).says("Models span a volume of low loss.")
@measure(DIRECTEDNESS)
def mean(results: Results, *, aspect: str, test: str, quantity: str) -> Measured:
    """Return the mean of a quantity over models, or sets of them."""
    rows = results.aspect(aspect, test, quantity, null=0)
    bounds = {"share positive": SHARE, "cosine": DIFFERENCE}.get(quantity, ANY)
    return Measured(f"mean {quantity}", results.mean(rows, bounds=bounds))


@paper.above("c4_direction", _at("C4")).says(
    "The direction between two clusters carries their behaviour over to models it never saw."
)
@measure(DIRECTEDNESS, parted)
def direction(results: Results, *, aspect: str, against: Null = "shuffled labels") -> Measured:
    """Return the slope along the direction, less the 97.5 % quantile of a null."""
    slopes = results.aspect(aspect, "C4", "slope", null=0)
    nulls = results.aspect(aspect, "C4", "slope", null=1, group=against)
    high = {m: part["value"].quantile(0.975) for m, part in nulls.groupby("models")}
    slopes = slopes.assign(value=slopes["value"] - [high.get(m, np.nan) for m in slopes["models"]])
    words = f"mean slope along the direction, less the 97.5 % quantile of the null ({against})"
    return Measured(words, results.mean(slopes.loc[slopes["value"].notna()]))


@paper.above("c4_predictable", _at("C4")).says(
    "Along that direction behaviour changes in proportion."
)
@measure(DIRECTEDNESS, parted)
def proportion(results: Results, *, aspect: str) -> Measured:
    """Return R^2 along the direction between two clusters."""
    rows = results.aspect(aspect, "C4", "r2")
    return Measured("mean R^2 along the direction", results.mean(rows, bounds=(-np.inf, 1)))


@paper.below("c6_asymmetric", _at("C6")).says(
    "Around a model the loss rises less towards the other models than away from them."
)
@measure(DIRECTEDNESS)
def asymmetry(results: Results, *, aspect: str) -> Measured:
    """Return the asymmetry towards the others' centroid, less that of random directions."""
    rows = results.aspect(aspect, "C6", "asymmetry")
    rows = rows.loc[rows["x"] == rows["x"].max()]
    null = rows["null"] == 1
    words = "mean asymmetry towards the others' centroid, less that of random directions"
    return Measured(words, results.contrast(rows.loc[~null], rows.loc[null]))


@paper.below("d1_component", _at("D1")).says(
    "Models are one component: those that others join to all the rest have no barrier."
)
@measure(CONNECTIVITY)
def spanning(results: Results, *, aspect: str) -> Measured:
    """Return the mean barrier along the minimum spanning tree of all models."""
    rows = results.aspect(aspect, "D1", "barrier", null=0)
    heights, pairs = rows["value"].to_numpy(), rows["models"].str.split(" + ", regex=False)

    def tree(kept: np.ndarray) -> float:
        models = sorted({m for pair in pairs[kept] for m in pair})
        graph = np.zeros((len(models), len(models)))
        for (a, b), height in zip(pairs[kept], heights[kept], strict=True):
            graph[models.index(a), models.index(b)] = height + 1  # 0 would be no edge
        edges = minimum_spanning_tree(graph).data
        return float(edges.mean() - 1) if len(edges) else np.nan

    interval = results.leave_out(tree, rows, LOSS)
    return Measured("mean barrier along the minimum spanning tree of barriers", interval)


@paper.above("d3_curve", _at("D3"), shown=LINES).says(
    "A fitted curve has a lower barrier than the straight line between the same models."
)
@measure(LINES)
def by_curve(
    results: Results,
    *,
    experiment: str,
    straight: str,
    path: str,
    eval_set: EvalSet,
) -> Measured:
    """Return how much lower the barrier of a curve is than that of the straight line."""
    words = f"barrier on {eval_set.upper()} of the straight line, less that of {path}"
    line, curve = (straight, {}), (experiment, {"path": path})
    return _lowered(results, words, eval_set, line, curve)


@paper.above("d4_units", _at("D4")).says(
    "Permuting the units of one model to match the other's lowers the barrier between them."
)
@measure(LINES)
def by_units(results: Results, *, experiment: str, alignment: str, eval_set: EvalSet) -> Measured:
    """Return how much an alignment lowers the barrier."""
    words = f"barrier on {eval_set.upper()}, less that after {alignment}"
    plain, matched = (experiment, {}), (experiment, {"alignment": alignment})
    return _lowered(results, words, eval_set, plain, matched)


@paper.above("d4_statistics", _at("D4")).says(
    "After that, new BatchNorm statistics along the path lower the barrier further."
)
@measure(LINES)
def by_statistics(
    results: Results, *, experiment: str, alignment: str, eval_set: EvalSet
) -> Measured:
    """Return how much new BatchNorm statistics lower the barrier after an alignment."""
    words = f"barrier after {alignment} on {eval_set.upper()}, less that with reset"
    ids = {"alignment": alignment}
    mixed, anew = (experiment, {**ids, "batchnorm": "interpolate"}), (experiment, ids)
    return _lowered(results, words, eval_set, mixed, anew)


@paper.below("d6_diagnostic", _at("D6")).says(
    "Where no barrier parts two models in domain, none parts them on a diagnostic set."
)
@measure(CONNECTIVITY)
def diagnostic(results: Results, *, aspect: str, diagnostic: str, epsilon: Size) -> Measured:
    """Return the barrier on a diagnostic of pairs whose barrier in domain is below `epsilon`."""
    domain = results.aspect(aspect, "D1", "barrier", null=0)
    joined = domain.loc[domain["value"] < epsilon, "models"]
    rows = results.aspect(aspect, "D6", f"barrier, {diagnostic}", null=0)
    words = f"mean barrier on {diagnostic} of pairs with one below {epsilon:g} in domain"
    interval = results.mean(rows.loc[rows["models"].isin(joined)])
    return Measured(words, interval, needs=f"pairs with a barrier below {epsilon:g} in domain")


def _whole(
    results: Results,
    words: str,
    rows: pd.DataFrame,
    needs: str,
    bounds: Bounds = ANY,
    rough: str = "",
) -> Measured:
    """Return the value of the largest set of models; leaving one out gives the rows without it.

    `rough` says why the value is no smooth function of the models, where it is none.
    """
    values = rows["value"].to_numpy()
    sizes = rows["models"].str.count(r" \+ ").to_numpy(int)

    def largest(kept: np.ndarray) -> float:
        return float(values[np.where(kept, sizes, -1).argmax()]) if kept.any() else np.nan

    return Measured(words, results.leave_out(largest, rows, bounds, rough), needs=needs)


def _lowered(
    results: Results,
    words: str,
    eval_set: str,
    usual: tuple[str, dict[str, str]],
    other: tuple[str, dict[str, str]],
) -> Measured:
    """Return how much lower the loss barrier of the same pairs is by another choice of columns."""
    names = ["model_a", "model_b"]
    one, two = (
        results.pairs(experiment, eval_set, **{"batchnorm": "reset", **ids})[
            [*names, "barrier_linear"]
        ]
        for experiment, ids in (usual, other)
    )
    both = one.merge(two, on=names, suffixes=("", "_other"), validate="one_to_one")
    both["value"] = both["barrier_linear"] - both["barrier_linear_other"]
    return Measured(f"mean {words}", results.mean(both), needs="pairs that both have")
