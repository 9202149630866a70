"""Claims made of the four aspects of *SoK: On Finding Common Ground in Loss Landscapes*.

The survey (arXiv 2410.12927, from its second version on "Deep Model Merging: The Sister of Neural
Network Interpretability") has neither experiments nor thresholds: every test is operationalised and
tested here. Each reads `aspects/<aspect>`, which an `aspect` of the params measured, or `barriers`;
losses are nats. All are held at once: with m claims, each interval has confidence
1 - (1 - confidence) / m (Bonferroni). What a test lacks leaves it undecided, and the statistic says
what is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from basins.claims.ledger import (
    Decision,
    EvalSet,
    Margin,
    Measured,
    Paper,
    Results,
    Threshold,
    entries,
)
from basins.statistics.seeds import contrast, jackknife, leave_out

ASPECTS = {"a": "convexity", "b": "determinism", "c": "directedness", "d": "connectivity"}
WHERE = {
    f"{letter}{k}": f"mode {name}, operationalised here as test {letter.upper()}{k}"
    for letter, name in ASPECTS.items()
    for k in range(1, 8)
}
LEAST = 3  # models: of two, leaving one out says next to nothing
Step = Annotated[int, Field(ge=0)]
Null = Literal["shuffled labels", "random direction"]


def a1_within(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """No barrier lies on the straight path between models of one cluster."""
    rows = _rows(results, aspect, "A1", "barrier_linear", group="within")
    return _mean(results, "barrier_linear within clusters", rows).below(threshold)


def a1_apart(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """The barrier is higher between models of different clusters than within one."""
    between, within = (
        _rows(results, aspect, "A1", "barrier_linear", group=g) for g in ("between", "within")
    )
    words = "barrier_linear between clusters, less that within"
    return _contrast(results, words, between, within, "two clusters").above(threshold)


def a1_convex(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """The loss is convex along straight paths between models of one cluster."""
    rows = _rows(results, aspect, "A1", "second difference", group="within")
    return _mean(results, "lowest second difference within clusters", rows).above(threshold)


def a2_within(results: Results, *, aspect: str, margin: Margin, threshold: Threshold) -> Decision:
    """Mixtures of models of one cluster obey Jensen's inequality, however many are mixed."""
    rows = _rows(results, aspect, "A2", "jensen", group="within")
    rows = rows.assign(value=(rows["value"] > margin).astype(float))
    words = f"share of mixtures within clusters with J > {margin:g}"
    return _mean(results, words, rows).below(threshold)


def a2_apart(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """Mixtures across clusters break Jensen's inequality by more than those within one."""
    between, within = (
        _rows(results, aspect, "A2", "jensen", group=g) for g in ("between", "within")
    )
    sizes = [*set(between["x"]) & set(within["x"])]
    between, within = (rows.loc[rows["x"].isin(sizes)] for rows in (between, within))
    words = "J of mixtures across clusters, less that within"
    return _contrast(results, words, between, within, "two clusters").above(threshold)


def a3_soup(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """The soup of a cluster's models has a lower loss than they have on average."""
    return _soup(results, aspect, "soup gain").above(threshold)


def a3_ensemble(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """The soup of a cluster's models is as good as their ensemble."""
    return _soup(results, aspect, "soup less ensemble").below(threshold)


def a4_star(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """A cluster is star-shaped: no barrier lies between its centroid and its models."""
    rows = _rows(results, aspect, "A4", "star barrier", group="within")
    return _mean(results, "barrier from centroids to the models of their cluster", rows).below(
        threshold
    )


def a4_nearer(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """The centroid of a cluster is joined to its models more easily than they are to each other."""
    star = _rows(results, aspect, "A4", "star barrier", group="within")
    pairs = _rows(results, aspect, "A1", "barrier_linear", group="within")
    words = "barrier from centroids to models, less that between models of one cluster"
    return _contrast(results, words, star, pairs, "pairs' barriers").below(threshold)


def a5_minimum(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """Where training ends the loss curves downwards in next to no direction."""
    rows = _rows(results, aspect, "A5", "negative share, end")
    return _mean(results, "share of negative curvature at models", rows).below(threshold)


def a5_flatter(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """Half-way between two models the loss is flatter than at models."""
    return _places(results, aspect, "top eigenvalue").below(threshold)


def a5_wider(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """Half-way between two models the loss stays low further around than at models."""
    return _places(results, aspect, "radius").above(threshold)


def b1_early(results: Results, *, aspect: str, step: Step, threshold: Threshold) -> Decision:
    """Runs that part early, after so few steps, end with a barrier between them."""
    return _instability(results, aspect, step).above(threshold)


def b1_stable(results: Results, *, aspect: str, step: Step, threshold: Threshold) -> Decision:
    """Runs that part after so many steps end without a barrier between them."""
    return _instability(results, aspect, step).below(threshold)


def b2_init(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """Models that start from the same head are nearer than those that see the same order."""
    order, head = (
        _rows(results, aspect, "B2", "barrier", group=g) for g in ("same order", "same head")
    )
    words = "barrier between models of one order, less that of one head"
    return _contrast(results, words, order, head, "a factorial of heads and orders").above(
        threshold
    )


def b2_cluster(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """The head that a model starts from tells its cluster better than the order of its batches."""
    head, order = (
        _rows(results, aspect, "B2", f"nmi, {factor}", null=0) for factor in ("head", "order")
    )
    both = head.merge(order, on="models", suffixes=("", "_order"))
    both = both.assign(value=both["value"] - both["value_order"])
    words = "NMI of the cluster with the head, less that with the order"
    return _whole(results, words, both, "clusters of a factorial").above(threshold)


def b3_early(
    results: Results,
    *,
    aspect: str,
    step: Step,
    feature: str = "auc",
    threshold: Threshold,
) -> Decision:
    """After so few steps the weights tell which cluster training will end in."""
    rows = _rows(results, aspect, "B3", feature, x=step)
    words = f"{feature} of the final cluster after {step} steps"
    return _whole(results, words, rows, "two clusters and checkpoints").above(threshold)


def b4_control(results: Results, *, aspect: str, threshold: Margin) -> Decision:
    """A perturbation of 0 changes nothing: there is no barrier to the model it is a rerun of."""
    rows = _rows(results, aspect, "B4", "barrier", x=0)
    return _mean(results, "barrier to a rerun", rows, "reruns (eps0)").within(threshold)


def b4_chaos(
    results: Results,
    *,
    aspect: str,
    size: Annotated[float, Field(gt=0)],
    threshold: Threshold,
) -> Decision:
    """Weights that were moved by so little, early on, end with a barrier to those that were not."""
    rows = _rows(results, aspect, "B4", "barrier", x=size)
    words = f"barrier after a perturbation of {size:g}"
    return _mean(results, words, rows, "perturbed models").above(threshold)


def c1_monotone(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """On the straight line from its start to a model the loss falls all the way."""
    rows = _rows(results, aspect, "C1", "violation")
    return _mean(results, "highest rise of the loss from start to model", rows).below(threshold)


def c2_straight(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """Training moves straighter than a random walk of as long steps."""
    return _trajectory(results, aspect, "straightness").above(threshold)


def c2_few(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """Training moves in fewer directions than a random walk of as long steps."""
    return _trajectory(results, aspect, "participation ratio").below(threshold)


def c3_secant(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """All along training, going down the gradient goes towards where it ends."""
    rows = _rows(results, aspect, "C3", "share positive")
    return _mean(results, "share of checkpoints with RSI > 0", rows).above(threshold)


def c4_direction(
    results: Results, *, aspect: str, against: Null = "shuffled labels", threshold: Threshold
) -> Decision:
    """The direction between two clusters carries their behaviour over to models it never saw."""
    slopes = _rows(results, aspect, "C4", "slope", null=0)
    nulls = _rows(results, aspect, "C4", "slope", null=1, group=against)
    high = {m: own["value"].quantile(0.975) for m, own in nulls.groupby("models")}
    slopes = slopes.assign(value=slopes["value"] - [high.get(m, np.nan) for m in slopes["models"]])
    slopes = slopes.loc[slopes["value"].notna()]
    words = f"slope along the direction, less the 97.5 % quantile of the null ({against})"
    return _mean(results, words, slopes, "two clusters of at least two").above(threshold)


def c4_predictable(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """Along that direction behaviour changes in proportion."""
    rows = _rows(results, aspect, "C4", "r2")
    return _mean(results, "R^2 along the direction", rows, "two clusters").above(threshold)


def c5_additive(results: Results, *, aspect: str, threshold: Margin) -> Decision:
    """Two task vectors together do what each does by itself."""
    rows = _rows(results, aspect, "C5", "additivity")
    words = "change of the loss by two task vectors, less those by each"
    return _mean(results, words, rows, "a common base").within(threshold)


def c5_shared(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """Task vectors of one task share a direction, whatever the seed."""
    rows = _rows(results, aspect, "C5", "cosine")
    return _mean(results, "cosine of two task vectors", rows, "a common base").above(threshold)


def c6_asymmetric(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """Around a model the loss rises less towards the other models than away from them."""
    rows = _rows(results, aspect, "C6", "asymmetry")
    rows = rows.loc[rows["x"] == rows["x"].max()]
    null = rows["null"] == 1
    words = "asymmetry towards the others' centroid, less that of random directions"
    return _contrast(results, words, rows.loc[~null], rows.loc[null], "models").below(threshold)


def d1_component(
    results: Results, *, aspect: str, epsilon: Margin, threshold: Threshold = 1.5
) -> Decision:
    """All models are one component of the graph of those that no barrier parts."""
    rows = _rows(results, aspect, "D1", "barrier", null=0)
    low, pairs = rows["value"].to_numpy() < epsilon, rows["models"].str.split(" + ", regex=False)

    def components(kept: np.ndarray) -> float:
        parts = {model: {model} for pair in pairs[kept] for model in pair}
        for a, b in pairs[kept & low]:
            if parts[a] is not parts[b]:
                parts[a] |= parts[b]
                parts |= dict.fromkeys(parts[b], parts[a])
        return float(len({id(part) for part in parts.values()}))

    interval = leave_out(components, _models(rows), results.confidence)
    words = f"components of the graph of barriers below {epsilon:g}"
    return _held(words, interval, "models").below(threshold)


def d2_through(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """Models with a barrier between them are connected through others."""
    rows = _rows(results, aspect, "D2", "ultrametric defect", null=0)
    words = "barrier less the bottleneck barrier through other models"
    return _mean(results, words, rows).above(threshold)


def d3_curve(
    results: Results,
    *,
    experiment: str,
    straight: str,
    path: str,
    eval_set: EvalSet,
    alignment: str = "none",
    batchnorm: str = "reset",
    threshold: Threshold,
) -> Decision:
    """A fitted curve has a lower barrier than the straight line between the same models."""
    held = {"alignment": alignment, "batchnorm": batchnorm, "eval_set": eval_set}
    lines = {"experiment": straight, "path": "linear", **held}
    curves = {"experiment": experiment, "path": path, **held}
    words = f"barrier on {eval_set.upper()} of the straight line, less that of {path}"
    return _lowered(results, words, lines, curves).above(threshold)


def d4_units(
    results: Results,
    *,
    experiment: str,
    alignment: str,
    eval_set: EvalSet,
    batchnorm: str = "reset",
    threshold: Threshold,
) -> Decision:
    """Permuting the units of one model to match the other's lowers the barrier between them."""
    held = {"experiment": experiment, "path": "linear", "batchnorm": batchnorm}
    held["eval_set"] = eval_set
    words = f"barrier on {eval_set.upper()}, less that after {alignment}"
    plain, matched = ({**held, "alignment": choice} for choice in ("none", alignment))
    return _lowered(results, words, plain, matched).above(threshold)


def d4_statistics(
    results: Results,
    *,
    experiment: str,
    alignment: str,
    eval_set: EvalSet,
    batchnorm: str = "reset",
    threshold: Threshold,
) -> Decision:
    """After that, new BatchNorm statistics along the path lower the barrier further."""
    held = {"experiment": experiment, "path": "linear", "alignment": alignment}
    held["eval_set"] = eval_set
    words = f"barrier after {alignment} on {eval_set.upper()}, less that with {batchnorm}"
    mixed, anew = ({**held, "batchnorm": mode} for mode in ("interpolate", batchnorm))
    return _lowered(results, words, mixed, anew).above(threshold)


def d5_together(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """The barrier is made by layers together: single layers do not add up to it."""
    rows = _rows(results, aspect, "D5", "interaction", null=0)
    words = "barrier of all layers, less those of single ones"
    return _mean(results, words, rows, "layerwise barriers").above(threshold)


def d6_diagnostic(
    results: Results, *, aspect: str, diagnostic: str, epsilon: Margin, threshold: Threshold
) -> Decision:
    """Where no barrier parts two models in domain, none parts them on a diagnostic set."""
    domain = _rows(results, aspect, "D1", "barrier", null=0)
    joined = domain.loc[domain["value"] < epsilon, "models"]
    rows = _rows(results, aspect, "D6", f"barrier, {diagnostic}", null=0)
    words = f"barrier on {diagnostic} of pairs with one below {epsilon:g} in domain"
    kept = rows.loc[rows["models"].isin(joined)]
    return _mean(results, words, kept, "pairs without a barrier in domain").below(threshold)


def d7_volume(results: Results, *, aspect: str, threshold: Threshold) -> Decision:
    """Models span a volume of low loss."""
    rows = _rows(results, aspect, "D7", "simplex loss excess", null=0)
    words = "loss in the simplex of models, less that of its corners"
    return _mean(results, words, rows, "simplices").below(threshold)


def decide(
    tables: Mapping[str, pd.DataFrame],
    settings: Mapping[str, Mapping[str, Any]],
    confidence: float,
) -> Iterator[dict[str, Any]]:
    """Yield the ledger's entry of each claim in `settings`: `name`, one of `CLAIMS`, and options.

    Raises `UserError`, naming the claim and what there is, where its table is missing.
    """
    title = "SoK: On Finding Common Ground in Loss Landscapes"
    count = max(1, len(settings))
    results = Results(tables, 1 - (1 - confidence) / count)
    for entry in entries(Paper("sok", title, WHERE, CLAIMS), results, settings):
        held = f"; {confidence:.0%} for {count} claims together (Bonferroni)"
        yield {**entry, "statistic": entry["statistic"] + held}


def _rows(results: Results, aspect: str, test: str, quantity: str, **equal: object) -> pd.DataFrame:
    """Return the rows of a test's quantity, perhaps none: what it needs may not be there."""
    rows = results.rows(f"aspects/{aspect}")
    for column, value in {"test": test, "quantity": quantity, **equal}.items():
        rows = rows.loc[rows[column] == value]
    return rows.loc[rows["value"].notna()].astype({"value": float})


def _models(rows: pd.DataFrame) -> list[np.ndarray]:
    """Return the models of each row, as many arrays [n] as the largest set has models."""
    sets = [models.split(" + ") for models in rows["models"]]
    most = max(map(len, sets), default=1)
    return [np.array([own[min(k, len(own) - 1)] for own in sets], dtype=str) for k in range(most)]


def _lowered(
    results: Results, words: str, usual: Mapping[str, str], other: Mapping[str, str]
) -> Measured:
    """Return how much lower the loss barrier of the same pairs is by another choice of columns."""
    names = ["model_a", "model_b"]
    one, two = (
        results.rows("barriers", metric="loss", **chosen)[[*names, "barrier_linear"]]
        for chosen in (usual, other)
    )
    both = one.merge(two, on=names, suffixes=("", "_other"), validate="one_to_one")
    both["value"] = both["barrier_linear"] - both["barrier_linear_other"]
    statistic, interval = results.mean(words, both, "value")
    return _held(statistic, interval, "pairs that both have")


def _held(words: str, interval: Mapping[str, float], needs: str) -> Measured:
    """Return what was measured, without an interval where it rests on too few models."""
    if not interval["seeds"]:
        return Measured(f"{words} (needs {needs})", interval)
    if interval["seeds"] < LEAST:
        lacking = f"needs {LEAST} models, there are {interval['seeds']:g}"
        nothing = dict.fromkeys(("ci_low", "ci_high"), np.nan)
        return Measured(f"{words} ({lacking})", {**interval, **nothing})
    if not np.isfinite(interval["ci_low"]):
        return Measured(f"{words} (needs {needs})", interval)
    return Measured(words, interval)


def _mean(results: Results, words: str, rows: pd.DataFrame, needs: str = "more models") -> Measured:
    interval = jackknife(rows["value"].to_numpy(), _models(rows), results.confidence)
    return _held(f"mean {words}", interval, needs)


def _contrast(
    results: Results, words: str, rows: pd.DataFrame, others: pd.DataFrame, needs: str
) -> Measured:
    """Return the mean over rows, less that over others; a model is left out of both at once."""
    both, first = pd.concat([rows, others]), np.arange(len(rows) + len(others)) < len(rows)
    values = both["value"].to_numpy()
    return _held(f"mean {words}", contrast(values, first, _models(both), results.confidence), needs)


def _whole(results: Results, words: str, rows: pd.DataFrame, needs: str) -> Measured:
    """Return the value of the largest set of models; leaving one out gives the rows without it."""
    values = rows["value"].to_numpy()
    sizes = rows["models"].str.count(r" \+ ").to_numpy(int)

    def largest(kept: np.ndarray) -> float:
        return float(values[np.where(kept, sizes, -1).argmax()]) if kept.any() else np.nan

    interval = leave_out(largest, _models(rows), results.confidence)
    return _held(words, interval, needs)


def _soup(results: Results, aspect: str, quantity: str) -> Measured:
    rows = _rows(results, aspect, "A3", quantity, group="within", x=0)
    return _whole(results, f"{quantity} of the largest cluster", rows, "a cluster of three")


def _places(results: Results, aspect: str, quantity: str) -> Measured:
    middle, end = (_rows(results, aspect, "A5", f"{quantity}, {p}") for p in ("midpoint", "end"))
    words = f"{quantity} at midpoints, less that at models"
    return _contrast(results, words, middle, end, "more places")


def _instability(results: Results, aspect: str, step: int) -> Measured:
    rows = _rows(results, aspect, "B1", "instability", x=step)
    parents = rows["group"].to_numpy(str)
    interval = jackknife(rows["value"].to_numpy(), [parents], results.confidence)
    words = f"mean barrier between runs that part after {step} steps, over parents"
    return _held(words, interval, "recipes that fork")


def _trajectory(results: Results, aspect: str, quantity: str) -> Measured:
    real, null = (_rows(results, aspect, "C2", quantity, null=k) for k in (0, 1))
    words = f"{quantity}, less that of random walks"
    return _contrast(results, words, real, null, "early checkpoints")


CLAIMS: dict[str, Callable[..., Decision]] = {
    function.__name__: function
    for function in (
        a1_within,
        a1_apart,
        a1_convex,
        a2_within,
        a2_apart,
        a3_soup,
        a3_ensemble,
        a4_star,
        a4_nearer,
        a5_minimum,
        a5_flatter,
        a5_wider,
        b1_early,
        b1_stable,
        b2_init,
        b2_cluster,
        b3_early,
        b4_control,
        b4_chaos,
        c1_monotone,
        c2_straight,
        c2_few,
        c3_secant,
        c4_direction,
        c4_predictable,
        c5_additive,
        c5_shared,
        c6_asymmetric,
        d1_component,
        d2_through,
        d3_curve,
        d4_units,
        d4_statistics,
        d5_together,
        d6_diagnostic,
        d7_volume,
    )
}
