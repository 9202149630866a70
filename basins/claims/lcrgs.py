"""Claims of Linear Connectivity Reveals Generalization Strategies (arXiv 2205.12411).

Clusters come from the convexity gaps in domain alone, two of them as in the paper, and are numbered
from the larger; what models do out of domain decides nothing but the verdicts. Options name
settings: `experiment` is one of `connect`, `eval_set` one of its sets, `slice` and `metric` what a
probe measured, and `clusters` the experiment that has clustered the models where `experiment` joins
them by curves that are not straight. A claim that has a `sign` leaves it to be fixed beforehand
which cluster is the better one; the paper's smaller ones are worse, so its correlations are
negative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from basins.claims.ledger import Decision, Measured, Paper, Results, Threshold, entries
from basins.errors import UserError
from basins.statistics.cluster_rows import PAIR_TYPES, pair_types
from basins.statistics.seeds import jackknife

WHERE = {
    "c1": "Fig. 1, heatmaps of convexity gaps",
    "c2": "definition of the convexity gap",
    "c3": "clusters by convexity gap",
    "c4": "scatter plots, histograms",
    "c5": "HANS by cluster",
    "c6": "PAWS by cluster",
    "c7": "Fig. 1",
    "c8": "Fig. 1",
    "c9": "dynamics of the clusters",
    "c10": "distance against convexity gap",
    "c11": "transitivity",
    "c12": "App. G",
}
LARGER, BETWEEN, SMALLER = PAIR_TYPES
Sign = Literal["negative", "positive"]
Factor = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Rival = Literal["distance", "barrier_linear", "sharpness"]


def c1_gap(
    results: Results,
    *,
    experiment: str,
    eval_set: str,
    alignment: str = "none",
    threshold: Threshold,
) -> Decision:
    """Models tuned from one encoder can have a convexity gap between them on the loss in domain."""
    rows = _pairs(results, experiment, eval_set, alignment=alignment, types=[BETWEEN])
    return _mean(results, rows, "convexity_gap", "between clusters").above(threshold)


def c1_ratio(
    results: Results,
    *,
    experiment: str,
    eval_set: str,
    ratio: Factor,
    alignment: str = "none",
    threshold: Threshold,
) -> Decision:
    """The convexity gap between models of different clusters is many times that within them."""
    rows = _pairs(results, experiment, eval_set, alignment=alignment)
    rows["value"] = rows["convexity_gap"] * np.where(rows["pair_type"] == BETWEEN, 1, ratio)
    statistic = f"convexity_gap {_on(rows)} between clusters, less {ratio:g} times that within"
    return _contrast(results, statistic, rows, "value").above(threshold)


def c2_barrier(
    results: Results, *, experiment: str, eval_set: str, threshold: Threshold
) -> Decision:
    """The barrier above the chord is next to nothing even between models of different clusters."""
    rows = _pairs(results, experiment, eval_set, types=[BETWEEN])
    return _mean(results, rows, "barrier_linear", "between clusters").below(threshold)


def c2_missed(
    results: Results, *, experiment: str, eval_set: str, threshold: Threshold
) -> Decision:
    """Between clusters, the convexity gap sees what the barrier above the chord misses."""
    rows = _pairs(results, experiment, eval_set, types=[BETWEEN])
    rows["value"] = rows["convexity_gap"] - rows["barrier_linear"]
    statistic = f"convexity_gap less barrier_linear {_on(rows)}, between clusters"
    return results.mean(statistic, rows, "value").above(threshold)


def c3_several(results: Results, *, experiment: str, threshold: Threshold = 1.5) -> Decision:
    """The convexity gaps part the models of one recipe into clusters, which noise would not do."""
    return _chosen(results, experiment).above(threshold)


def c3_two(results: Results, *, experiment: str, threshold: Threshold = 2.5) -> Decision:
    """The convexity gaps part the models of one recipe into two clusters at most."""
    return _chosen(results, experiment).below(threshold)


def c3_minority(results: Results, *, experiment: str, threshold: Threshold) -> Decision:
    """The smaller of two clusters has few of the models."""
    statistic = f"share of models in the smaller of two clusters, {experiment}"
    return _choice(results, experiment, "smallest", statistic).below(threshold)


def c4_score(
    results: Results,
    *,
    experiment: str,
    slice: str,
    metric: str = "accuracy",
    sign: Sign = "negative",
    threshold: Threshold,
) -> Decision:
    """A score that knows the loss in domain alone goes with how models generalise."""
    found = _association(results, experiment, slice, metric, "pearson", "Pearson's r of the score")
    return _beyond(found, sign, threshold)


def c4_given(
    results: Results,
    *,
    experiment: str,
    slice: str,
    metric: str = "accuracy",
    sign: Sign = "negative",
    threshold: Threshold,
) -> Decision:
    """The score goes with how models generalise also at equal accuracy in domain."""
    statistic = "r of the score, given the accuracy in domain,"
    found = _association(results, experiment, slice, metric, "partial", statistic)
    return _beyond(found, sign, threshold)


def c4_auc(
    results: Results,
    *,
    experiment: str,
    slice: str,
    metric: str = "accuracy",
    sign: Sign = "negative",
    threshold: Threshold,
) -> Decision:
    """Which cluster a model is in tells how it generalises."""
    statistic = "how often a model of the smaller cluster is the lower"
    found = _association(results, experiment, slice, metric, "auc", statistic)
    return found.above(threshold) if sign == "negative" else found.below(threshold)


def c4_published(
    results: Results, *, metric: str = "Lexical (nonent)", threshold: Threshold
) -> Decision:
    """Which cluster a published model is in tells how it does on HANS."""
    statistic = "how often a model of the smaller cluster is the lower"
    return _published(results, metric, "auc", statistic).above(threshold)


def c4_published_given(
    results: Results,
    *,
    metric: str = "Lexical (nonent)",
    sign: Sign = "negative",
    threshold: Threshold,
) -> Decision:
    """Clusters of published models go with HANS also at equal accuracy on MNLI."""
    statistic = "r of the smaller cluster, given the accuracy on MNLI,"
    return _beyond(_published(results, metric, "partial", statistic), sign, threshold)


def c5_swap(
    results: Results,
    *,
    experiment: str,
    slice: str,
    metric: str = "accuracy",
    threshold: Threshold,
) -> Decision:
    """The smaller cluster reads bags of words: it takes a sentence's swapped twin as entailed."""
    return _smaller(results, experiment, slice, metric).below(threshold)


def c5_entailed(
    results: Results,
    *,
    experiment: str,
    slice: str,
    metric: str = "accuracy",
    threshold: Threshold,
) -> Decision:
    """The smaller cluster finds entailment where premise and hypothesis share their words."""
    return _smaller(results, experiment, slice, metric).above(threshold)


def c5_reversed(
    results: Results,
    *,
    experiment: str,
    slice: str,
    metric: str = "accuracy",
    threshold: Threshold,
) -> Decision:
    """The smaller cluster is not worse on every heuristic: on the constituents' it is better."""
    return _difference(results, experiment, slice, metric).above(threshold)


def c5_published_swap(
    results: Results, *, metric: str = "ln_subject/object_swap", threshold: Threshold
) -> Decision:
    """The smaller cluster of published models takes swapped subject and object as entailed."""
    return _published(results, metric, "small", "mean accuracy of the smaller cluster").below(
        threshold
    )


def c5_published_entailed(
    results: Results, *, metric: str = "Lexical (entailed)", threshold: Threshold
) -> Decision:
    """The smaller cluster of published models finds entailment where words are shared."""
    return _published(results, metric, "small", "mean accuracy of the smaller cluster").above(
        threshold
    )


def c5_published_reversed(
    results: Results, *, metric: str = "Constituent (nonent)", threshold: Threshold
) -> Decision:
    """The smaller cluster of published models is better on constituents that do not follow."""
    statistic = "mean accuracy of the smaller cluster, less that of the larger,"
    return _published(results, metric, "difference", statistic).above(threshold)


def c6_paws(
    results: Results,
    *,
    experiment: str,
    slice: str,
    metric: str = "f1",
    threshold: Threshold,
) -> Decision:
    """The smaller cluster is worse at telling paraphrases from their words in another order."""
    return _difference(results, experiment, slice, metric).below(threshold)


def c7_midpoint(
    results: Results, *, experiment: str, eval_set: str, threshold: Threshold
) -> Decision:
    """Half-way between two models of one cluster, the loss is lower than at the two."""
    rows = _pairs(results, experiment, eval_set, types=[LARGER, SMALLER])
    return _mean(results, rows, "barrier_mid", "within clusters").below(threshold)


def c8_plateau(
    results: Results, *, experiment: str, eval_set: str, share: Factor, threshold: Threshold
) -> Decision:
    """Out of domain, a path between clusters has no barrier to speak of beside its ends' change."""
    rows = _pairs(results, experiment, eval_set, types=[BETWEEN])
    change = 2 * (rows["barrier_mean"] - rows["barrier_endpoint"])  # of the loss, end to end
    rows["value"] = rows["barrier_endpoint"] - share * change
    statistic = (
        f"barrier_endpoint {_on(rows)} between clusters, less {share:g} times the ends' change"
    )
    return results.mean(statistic, rows, "value").below(threshold)


def c9_apart(
    results: Results, *, experiment: str, final: str, eval_set: str, threshold: Threshold
) -> Decision:
    """Early in training, models that will end in different clusters are apart already."""
    rows = _early(results, experiment, final, eval_set)
    statistic = f"convexity_gap {_on(rows)} between the clusters of {final}, less that within"
    return _contrast(results, statistic, rows, "convexity_gap").above(threshold)


def c9_grows(
    results: Results, *, experiment: str, final: str, eval_set: str, threshold: Threshold
) -> Decision:
    """Clusters separate further as training goes on."""
    rows = _early(results, experiment, final, eval_set)
    later = _pairs(results, final, eval_set)
    known = dict(zip(_seeds(later), later["convexity_gap"], strict=True))
    rows["value"] = [known[pair] for pair in _seeds(rows)] - rows["convexity_gap"]
    statistic = f"growth of the convexity_gap {_on(rows)} until {final}, between clusters"
    return _contrast(results, f"{statistic} less within", rows, "value").above(threshold)


def c9_trapped(
    results: Results, *, experiment: str, final: str, eval_set: str, threshold: Threshold
) -> Decision:
    """Models stay where they are: two that share a cluster early, or do not, end that way."""
    rows = _early(results, experiment, final, eval_set)
    own = _clusters(results, experiment)
    together = rows["model_a"].map(own.get) == rows["model_b"].map(own.get)
    rows["value"] = (together == (rows["pair_type"] != BETWEEN)).astype(float)
    statistic = f"share of pairs whose clusters agree early and late (Rand), {experiment}, {final}"
    return results.mean(statistic, rows, "value").above(threshold)


def c10_rival(
    results: Results,
    *,
    experiment: str,
    slice: str,
    metric: str = "accuracy",
    measure: Rival = "distance",
    threshold: Threshold,
) -> Decision:
    """The convexity gap tells how models generalise better than a plainer measure does."""
    name = {"distance": "the Euclidean distance's"}.get(measure, f"{measure}'s")
    statistic = f"|r| of the convexity gap's score, less that of {name},"
    found = _association(results, experiment, slice, metric, "behind", statistic, measure)
    return found.above(threshold)


def c11_triangles(results: Results, *, experiment: str, threshold: Threshold) -> Decision:
    """The convexity gap is nearly transitive: it breaks triangles by little, if at all."""
    statistic = f"excess of a triangle's longest gap, over the mean gap, {experiment}"
    return _choice(results, experiment, "triangle_excess", f"mean {statistic}").below(threshold)


def c11_within(
    results: Results, *, experiment: str, eval_set: str, threshold: Threshold
) -> Decision:
    """Models of one cluster are linearly connected: there is hardly a gap between any two."""
    rows = _pairs(results, experiment, eval_set, types=[LARGER, SMALLER])
    return _mean(results, rows, "convexity_gap", "within clusters").below(threshold)


def c12_connected(
    results: Results,
    *,
    experiment: str,
    eval_set: str,
    path: str = "bezier",
    clusters: str | None = None,
    threshold: Threshold,
) -> Decision:
    """A nonlinear path joins models of different clusters without a barrier in domain."""
    rows = _pairs(results, experiment, eval_set, path=path, types=[BETWEEN], clusters=clusters)
    return _mean(results, rows, "barrier_linear", "between clusters").below(threshold)


def c12_worse(
    results: Results,
    *,
    experiment: str,
    eval_set: str,
    path: str = "bezier",
    clusters: str | None = None,
    threshold: Threshold,
) -> Decision:
    """Half-way on a nonlinear path across clusters, models do worse out of domain than its ends."""
    rows = _pairs(results, experiment, eval_set, path=path, types=[BETWEEN], clusters=clusters)
    return _mean(results, rows, "barrier_mid", "between clusters").above(threshold)


def c12_across(
    results: Results,
    *,
    experiment: str,
    eval_set: str,
    path: str = "bezier",
    clusters: str | None = None,
    threshold: Threshold,
) -> Decision:
    """Half-way on a nonlinear path, more is lost out of domain across clusters than within one."""
    rows = _pairs(results, experiment, eval_set, path=path, clusters=clusters)
    statistic = f"barrier_mid {_on(rows)} between clusters, less that within"
    return _contrast(results, statistic, rows, "barrier_mid").above(threshold)


def decide(
    tables: Mapping[str, pd.DataFrame],
    settings: Mapping[str, Mapping[str, Any]],
    confidence: float,
) -> Iterator[dict[str, Any]]:
    """Yield the ledger's entry of each claim in `settings`: `name`, one of `CLAIMS`, and options.

    Raises `UserError`, naming the claim and what there is, where its rows are missing.
    """
    title = "Linear Connectivity Reveals Generalization Strategies"
    paper = Paper("lcrgs", title, WHERE, CLAIMS)
    return entries(paper, Results(tables, confidence), settings)


def _clusters(results: Results, experiment: str) -> dict[str, int]:
    rows = results.rows("clusters", experiment=experiment, measure="convexity_gap")
    return dict(zip(rows["model"], rows["cluster"], strict=True))


def _pairs(
    results: Results,
    experiment: str,
    eval_set: str,
    *,
    path: str = "linear",
    alignment: str = "none",
    types: list[str] | None = None,
    clusters: str | None = None,
) -> pd.DataFrame:
    """Return the barriers of the loss, from the larger cluster on, with their `pair_type`.

    `clusters` is the experiment that has clustered the models, if it is another.
    """
    chosen = {"path": path, "alignment": alignment, "batchnorm": "interpolate"}
    chosen |= {"eval_set": eval_set, "metric": "loss"}
    rows = results.rows("barriers", experiment=experiment, **chosen)
    typed = pair_types(rows, _clusters(results, clusters or experiment))
    return typed.loc[typed["pair_type"].isin(list(types or PAIR_TYPES))].copy()


def _early(results: Results, experiment: str, final: str, eval_set: str) -> pd.DataFrame:
    """Return the pairs of an early experiment, typed by the clusters of the `final` one."""
    ends = {model.rpartition("/")[2]: k for model, k in _clusters(results, final).items()}
    rows = results.rows(
        "barriers",
        experiment=experiment,
        path="linear",
        alignment="none",
        batchnorm="interpolate",
        eval_set=eval_set,
        metric="loss",
    )
    models = pd.unique(rows[["model_a", "model_b"]].to_numpy().ravel())
    known = {model: ends[seed] for model in models if (seed := model.rpartition("/")[2]) in ends}
    if not known:
        raise UserError(f"{experiment} and {final} have no seed in common")
    return pair_types(rows, known)


def _seeds(rows: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the seeds of each pair in one order, whichever model comes first on the path."""
    models = rows[["model_a", "model_b"]].to_numpy()
    return [tuple(sorted(model.rpartition("/")[2] for model in pair)) for pair in models]


def _on(rows: pd.DataFrame) -> str:
    """Return what the measured pairs have in common, in words."""
    if rows.empty:
        return "of no pairs"
    experiment, path, alignment, eval_set = rows.iloc[0][
        ["experiment", "path", "alignment", "eval_set"]
    ]
    return f"of the loss on {eval_set} ({experiment}, {path}, {alignment})"


def _mean(results: Results, rows: pd.DataFrame, measure: str, which: str) -> Measured:
    return results.mean(f"{measure} {_on(rows)}, {which}", rows, measure)


def _contrast(results: Results, statistic: str, rows: pd.DataFrame, column: str) -> Measured:
    """Return the mean over pairs between clusters, less that over pairs within."""
    between = rows["pair_type"] == BETWEEN
    return results.contrast(statistic, rows.loc[between], rows.loc[~between], column)


def _measured(statistic: str, row: pd.Series, name: str, ends: tuple[str, str]) -> Measured:
    values = row[[name, *ends, "n"]].astype(float)
    names = ("mean", "ci_low", "ci_high", "seeds")
    return Measured(statistic, dict(zip(names, values, strict=True)))


def _choice(results: Results, experiment: str, statistic: str, words: str) -> Measured:
    chosen = {"experiment": experiment, "measure": "convexity_gap", "statistic": statistic}
    row = results.rows("cluster_choice", **chosen).iloc[0]
    return _measured(words, row, "estimate", ("ci_low", "ci_high"))


def _chosen(results: Results, experiment: str) -> Measured:
    return _choice(results, experiment, "chosen", f"number of clusters, {experiment}")


def _association(
    results: Results,
    experiment: str,
    slice_: str,
    metric: str,
    statistic: str,
    words: str,
    measure: str = "convexity_gap",
) -> Measured:
    chosen = {"experiment": experiment, "measure": measure, "slice": slice_, "metric": metric}
    row = results.rows("association", **chosen, statistic=statistic).iloc[0]
    words = f"{words} with the {metric} on {slice_} ({experiment})"
    return _measured(words, row, "estimate", ("ci_low", "ci_high"))


def _difference(results: Results, experiment: str, slice_: str, metric: str) -> Measured:
    chosen = {"experiment": experiment, "measure": "convexity_gap", "slice": slice_}
    rows = results.rows("association", **chosen, metric=metric, statistic="difference")
    words = f"mean {metric} on {slice_} of the smaller cluster, less that of the larger"
    return _measured(f"{words} ({experiment})", rows.iloc[0], "estimate", ("ci_low", "ci_high"))


def _smaller(results: Results, experiment: str, slice_: str, metric: str) -> Measured:
    """Return the mean over the models of the smaller cluster, with its interval over them."""
    cluster = _clusters(results, experiment)
    rows = results.rows("probes", slice=slice_, metric=metric)
    model = rows["recipe"] + "/seed" + rows["seed"].astype(str)
    own = rows.loc[model.isin([name for name, label in cluster.items() if label > 0])]
    interval = jackknife(own["value"].to_numpy(), [own["seed"].to_numpy()], results.confidence)
    words = f"mean {metric} on {slice_} of the smaller cluster ({experiment})"
    return Measured(words, interval)


def _published(results: Results, metric: str, name: str, words: str) -> Measured:
    row = results.rows("published_models", metric=metric).iloc[0]
    return _measured(
        f"{words} on {metric}, published models", row, name, (f"{name}_low", f"{name}_high")
    )


def _beyond(found: Measured, sign: Sign, threshold: float) -> Decision:
    return found.below(threshold) if sign == "negative" else found.above(threshold)


CLAIMS: dict[str, Callable[..., Decision]] = {
    function.__name__: function
    for function in (
        c1_gap,
        c1_ratio,
        c2_barrier,
        c2_missed,
        c3_several,
        c3_two,
        c3_minority,
        c4_score,
        c4_given,
        c4_auc,
        c4_published,
        c4_published_given,
        c5_swap,
        c5_entailed,
        c5_reversed,
        c5_published_swap,
        c5_published_entailed,
        c5_published_reversed,
        c6_paws,
        c7_midpoint,
        c8_plateau,
        c9_apart,
        c9_grows,
        c9_trapped,
        c10_rival,
        c11_triangles,
        c11_within,
        c12_connected,
        c12_worse,
        c12_across,
    )
}
