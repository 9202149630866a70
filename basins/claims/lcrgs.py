"""Claims of Linear Connectivity Reveals Generalization Strategies (arXiv 2205.12411).

Clusters come from the convexity gaps in domain alone, two of them as in the paper. Claims about
them apply where a test shows that there are any, claims about strategies where models differ by
more than the diagnostic's noise. Options name settings: `experiment` is one of `connect`,
`clusters` the one that has clustered its models if it is another, `slice` and `metric` what a probe
measured.
The paper's smaller clusters are the worse ones, so its correlations are negative.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from basins.claims.ledger import Measured, Paper, Shown, measure
from basins.claims.results import (
    DIFFERENCE,
    SHARE,
    Interval,
    Results,
    cluster_test,
    clustered,
    learned,
    one,
    varied,
)
from basins.errors import UserError
from basins.statistics.association import residuals
from basins.statistics.cluster_rows import PAIR_TYPES, pair_types
from basins.statistics.factorial import FACTORIAL, pairs, shared
from basins.statistics.seeds import jackknife, span
from basins.statistics.strategies import in_domain

paper = Paper("lcrgs", "Linear Connectivity Reveals Generalization Strategies")
GAPS = Shown(("convexity_gaps", "pair_types"), (), ("barriers",))
CLUSTERS = Shown(("convexity_gaps",), ("clusters",), ("barriers",))
FACTORS = Shown(("factorial",), (), ("barriers", "probes"))
TRIANGLES = CLUSTERS._replace(rows=("cluster_choice",))
SCORES = Shown(("strategy",), (), ("association",))
RIVALS = Shown(("strategy", "sharpness"), (), ("association",))
BY_CLUSTER = Shown(("cluster_histogram",), (), ("association",))
SLICES = Shown(("cluster_histogram",), (), ("probes", "clusters"))
DYNAMICS = Shown(("dynamics",), (), ("barriers",))
ENDS = DYNAMICS._replace(rows=("barriers", "clusters"))
CURVES = Shown(("path_grid",), (), ("barriers", "clusters"))
ANY_CURVES = Shown(("path_grid",), (), ("barriers",))
PUBLISHED = Shown(("published_models",), ("published_models",), ("published_models",))

BETWEEN = PAIR_TYPES[1]
Factor = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Stream = Literal["head", "order", "dropout"]
Which = Literal["between", "within", "all"]


def parted(results: Results, options: Mapping[str, Any]) -> str:
    """Say that no clusters are shown where that is so: what is said of them is about nothing."""
    if options.get("which") == "all":
        return ""
    named = (options.get(name) for name in ("clusters", "final", "experiment"))
    return clustered(results, str(next(filter(None, named))))


@paper.above(
    "c1_gap", "Fig. 1, heatmaps of convexity gaps", shown=GAPS, column="convexity_gap", which="all"
).says("Models tuned from one encoder have a convexity gap between them on the loss in domain.")
@paper.above(
    "c2_missed", "definition of the convexity gap", shown=GAPS, column="missed", which="all"
).says("The convexity gap sees what the barrier above the chord misses.")
@paper.below("c7_midpoint", "Fig. 1", column="barrier_mid", which="within").says(
    "Half-way between two models of one cluster, the loss is lower than at the two."
)
@paper.below(
    "c7_any", "beside Fig. 1", kind="ours", shown=GAPS, column="barrier_mid", which="all"
).says("Half-way between any two models of one encoder, the loss is lower than at the two.")
@paper.below("c11_within", "transitivity", column="convexity_gap", which="within").says(
    "Models of one cluster are linearly connected: there is hardly a gap between any two."
)
@paper.below(
    "c12_connected",
    "App. G, as cited",
    shown=CURVES,
    column="barrier_linear",
    which="between",
).says("A nonlinear path joins models of different clusters without a barrier in domain.")
@paper.above(
    "c12_worse",
    "App. G, as cited",
    kind="ours",
    shown=CURVES,
    column="barrier_mid",
    which="between",
).says(
    "Half-way on a nonlinear path across clusters, models do worse out of domain than its ends.",
    confound="its bend is trained for an epoch more than its ends",
)
@paper.below(
    "c12_any",
    "beside App. G",
    kind="ours",
    shown=ANY_CURVES,
    column="barrier_linear",
    which="all",
).says("A nonlinear path joins any two models of one encoder without a barrier in domain.")
@paper.above(
    "c12_any_worse",
    "beside App. G",
    kind="ours",
    shown=ANY_CURVES,
    column="barrier_mid",
    which="all",
).says(
    "Half-way on a nonlinear path, models do worse out of domain than its ends.",
    confound="its bend is trained for an epoch more than its ends",
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
        rows = _pairs(results, experiment, eval_set, clusters, **ids)
        rows = rows.loc[(rows["pair_type"] == BETWEEN) == (which == "between")]
    rows = rows.assign(missed=rows["convexity_gap"] - rows["barrier_linear"])
    pairs = "all pairs" if which == "all" else f"pairs {which} clusters"
    name = "convexity_gap less barrier_linear" if column == "missed" else column
    words = f"mean {name} {_on(rows)}, {pairs}"
    return Measured(words, results.mean(rows, column, span(column)), needs=pairs)


@paper.above("c1_ratio", "Fig. 1, heatmaps of convexity gaps", column="convexity_gap").says(
    "The convexity gap between models of different clusters is many times that within them."
)
@measure(GAPS, parted)
def between_less_within(
    results: Results, *, experiment: str, eval_set: str, ratio: Factor, column: str
) -> Measured:
    """Return the mean of a measure between clusters, less `ratio` times that within."""
    rows = _pairs(results, experiment, eval_set)
    rows["value"] = rows[column] * np.where(rows["pair_type"] == BETWEEN, 1, ratio)
    words = f"mean {column} {_on(rows)} between clusters, less {ratio:g} times that within"
    between = rows["pair_type"] == BETWEEN
    interval = results.contrast(rows.loc[between], rows.loc[~between])
    return Measured(words, interval, needs="pairs between and within clusters")


@paper.above(
    "c12_across", "beside App. G", kind="control", shown=ANY_CURVES, column="barrier_mid"
).says("Half-way on a nonlinear path, more is lost out of domain across clusters than within one.")
@measure(GAPS, parted)
def across(
    results: Results, *, experiment: str, eval_set: str, path: str, clusters: str, column: str
) -> Measured:
    """Return by how much more a measure is between clusters, which are a part of the estimate."""
    rows = results.pairs(experiment, eval_set, path=path)
    words = f"{column} {_on(rows)}, between clusters less within, at equal effects of models"
    return Measured(words, results.between(rows, column, clusters))


@paper.above("c12_selves", "beside App. G", kind="ours", shown=ANY_CURVES).says(
    "Half-way on a nonlinear path between two models, they do worse out of domain than half-way on "
    "one from each to itself, whose bend is trained as long."
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
    """Return a mean measure over pairs, less that of the paths from their two models to themselves.

    Both are relative to the mean of a path's ends, so the ends cancel in the difference.
    """
    rows = results.pairs(experiment, eval_set, path=path)
    alone = results.pairs(selves, eval_set, path=path)
    of = pd.Series(alone[column].to_numpy(), index=alone["model_a"])
    ends = [rows[side].map(of) for side in ("model_a", "model_b")]
    rows = rows.assign(value=rows[column] - sum(ends) / 2)
    words = f"{column} {_on(rows)}, less that of the paths from its two models to themselves"
    return Measured(words, results.mean(rows))


@paper.test("c3_several", "clusters by convexity gap").says(
    "The convexity gaps part the models of one recipe into clusters, which noise would not do."
)
@paper.test("control_forced", "beside the clusters", kind="control").says(
    "Models whose training rows forced two strategies on them fall into clusters."
)
@paper.test("control_planted", "beside the clusters", kind="control").says(
    "Models that begin with one of two heads fall into clusters, which they must."
)
@paper.test("control_basin", "beside the clusters", kind="control").says(
    "Runs that part when training is nearly over fall into clusters, which they must not."
)
@measure(CLUSTERS)
def several(results: Results, *, experiment: str) -> Measured:
    """Return the p of a test against gaps that part nothing."""
    return Measured(f"p of the test for clusters, {experiment}", cluster_test(results, experiment))


@paper.above("c3_alone", "beside the clusters", kind="ours", shown=GAPS).says(
    "Some models of one head are connected to no other."
)
@measure(GAPS)
def alone(results: Results, *, experiment: str, size: Factor) -> Measured:
    """Return the share of models whose least barrier to any other exceeds `size`."""
    rows = results.gaps(experiment)
    both = [
        rows[[side, "barrier_linear"]].set_axis(["model", "value"], axis=1)
        for side in ("model_a", "model_b")
    ]
    least: pd.Series = pd.concat(both).groupby("model")["value"].min()  # pyright: ignore
    words = f"share of models whose least barrier_linear to another exceeds {size:g} ({experiment})"
    hits, models = (least > size).to_numpy(float), [least.index.to_numpy(str)]
    interval = jackknife(hits, models, results.confidence, outcomes=True)
    return Measured(words, interval | {"bounds": SHARE})


@paper.above("head_apart", "beside Fig. 1", kind="ours", shown=GAPS).says(
    "Models that begin with heads of their own are further apart than models of one head."
)
@paper.below("head_probed", "beside Fig. 1", kind="ours", shown=GAPS).says(
    "Heads that are first trained on the fixed encoder leave models less far apart than new ones."
)
@paper.below("head_matched", "beside Fig. 1", kind="ours", shown=GAPS).says(
    "Matching their units brings models that begin with heads of their own nearer to each other."
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
    words = f"mean {column} {_on(rows)}, less that of {against}"
    return Measured(words, results.contrast(rows, others, column))


@paper.above("strategy_between", "beside the scatter plots", kind="ours", shown=CLUSTERS).says(
    "Models of two clusters differ more in strategy than models of one, at equal accuracy."
)
@measure(SCORES, parted, learned, varied)
def strategy_between(
    results: Results, *, experiment: str, slice: str, metric: str = "accuracy"
) -> Measured:
    """Return by how much more models of two clusters differ in a diagnostic, clusters estimated."""
    rows = _strategies(results, experiment, slice, metric)
    words = f"difference in the {metric} on {slice}, less what the accuracy in domain explains"
    interval = results.between(rows, "strategy", experiment)
    return Measured(f"{words}: between clusters less within ({experiment})", interval)


@paper.above("strategy_gap", "beside the scatter plots", kind="ours").says(
    "Models that are further apart in domain differ more in strategy, at equal accuracy."
)
@measure(SCORES, learned, varied)
def strategy_gap(
    results: Results, *, experiment: str, slice: str, metric: str = "accuracy"
) -> Measured:
    """Return r over pairs of the convexity gap and the difference in a diagnostic."""
    rows = _strategies(results, experiment, slice, metric)
    gaps, apart = rows["convexity_gap"].to_numpy(), rows["strategy"].to_numpy()
    words = f"r over pairs of the convexity_gap and the difference in the {metric} on {slice}"
    return Measured(f"{words} ({experiment})", _fisher(results, rows, gaps, apart))


@paper.above("share_of", "beside Fig. 1", kind="ours").says(
    "What is random in fine-tuning decides this much of how far apart two models are."
)
@measure(FACTORS)
def share_of(
    results: Results, *, aspect: str, experiment: str, factor: Stream, slice: str | None = None
) -> Measured:
    """Return which share of the barrier, or of the variance of a diagnostic, a factor explains."""
    rows = _factorial(results, aspect, experiment, slice)
    words = f"share of {_explained(slice)} by the {factor} ({experiment})"
    return Measured(words, results.leave_out(partial(shared, rows, factor), rows))


@paper.above("share_more", "beside Fig. 1", kind="ours").says(
    "The head decides more of how far apart two models are than the order of the rows does."
)
@measure(FACTORS)
def share_more(
    results: Results, *, aspect: str, experiment: str, slice: str | None = None
) -> Measured:
    """Return the share that the head explains, less that of the order."""
    rows = _factorial(results, aspect, experiment, slice)

    def more(kept: np.ndarray) -> float:
        return shared(rows, "head", kept) - shared(rows, "order", kept)

    words = f"share of {_explained(slice)} by the head, less that by the order ({experiment})"
    return Measured(words, results.leave_out(more, rows))


@paper.below("c11_triangles", "transitivity").says(
    "The convexity gap is nearly transitive: it breaks triangles by little, if at all.",
    confound="noise of the examples breaks triangles, too, where gaps are small",
)
@measure(TRIANGLES)
def triangles(results: Results, *, experiment: str) -> Measured:
    """Return by how much the longest gap of three exceeds the others' sum, over the mean gap."""
    ids = {"experiment": experiment, "measure": "convexity_gap", "statistic": "triangle_excess"}
    words = f"mean excess of a triangle's longest gap, over the mean gap, {experiment}"
    return Measured(words, one(results.rows("cluster_choice", **ids).iloc[0], "estimate"))


@paper.below("c4_score", "scatter plots", statistic="pearson").says(
    "A score that knows the loss in domain alone goes with how models generalise."
)
@paper.below("c4_given", "beside the scatter plots", kind="ours", statistic="partial").says(
    "The score goes with how models generalise also at equal accuracy in domain."
)
@paper.above("c10_rival", "distance against convexity gap", shown=RIVALS, statistic="behind").says(
    "The convexity gap tells how models generalise better than a plainer measure does."
)
@measure(SCORES, learned, varied)
def association(
    results: Results,
    *,
    experiment: str,
    slice: str,
    metric: str = "accuracy",
    rival: Literal["distance", "barrier_linear", "sharpness"] | None = None,
    statistic: str,
) -> Measured:
    """Return a statistic of the score and a diagnostic."""
    interval = _association(results, experiment, slice, metric, statistic, rival or "convexity_gap")
    words = {
        "pearson": "Pearson's r of the score",
        "partial": "r of the score, given the accuracy in domain,",
        "behind": f"|r| of the convexity gap's score, less that of the {rival},",
    }[statistic] + f" with the {metric} on {slice} ({experiment})"
    return Measured(words, interval)


@paper.above("c5_reversed", "HANS by cluster").says(
    "The smaller cluster is not worse on every heuristic: on the constituents' it is better."
)
@paper.below("c6_paws", "PAWS by cluster").says(
    "The smaller cluster is worse at telling paraphrases from their words in another order."
)
@measure(BY_CLUSTER, parted, learned, varied)
def difference(
    results: Results, *, experiment: str, slice: str, metric: str = "accuracy"
) -> Measured:
    """Return the mean of a diagnostic over the smaller cluster, less that over the larger."""
    interval = _association(results, experiment, slice, metric, "difference")
    words = f"mean {metric} on {slice} of the smaller cluster, less that of the larger"
    return Measured(f"{words} ({experiment})", interval)


@paper.below("c5_swap", "HANS by cluster").says(
    "The smaller cluster reads bags of words: it takes a sentence's swapped twin as entailed."
)
@paper.above("c5_entailed", "HANS by cluster").says(
    "The smaller cluster finds entailment where premise and hypothesis share their words."
)
@measure(SLICES, parted)
def smaller(results: Results, *, experiment: str, slice: str, metric: str = "accuracy") -> Measured:
    """Return the mean over the models of the smaller cluster."""
    rows = results.probed(experiment, slice, metric, smaller=True)
    words = f"mean {metric} on {slice} of the smaller cluster ({experiment})"
    return Measured(words, results.mean(rows, bounds=SHARE))


@paper.above("c4_published", "histograms", statistic="auc").says(
    "Which cluster a published model is in tells how it does on HANS."
)
@paper.below("c4_published_given", "beside the histograms", kind="ours", statistic="partial").says(
    "Clusters of published models go with HANS also at equal accuracy on MNLI."
)
@measure(PUBLISHED)
def published(
    results: Results,
    *,
    metric: str = "Lexical (nonent)",
    statistic: Literal["auc", "partial"],
) -> Measured:
    """Return how membership goes with a diagnostic among the paper's own models."""
    row = results.rows("published_models", metric=metric).iloc[0]
    names = (statistic, f"{statistic}_low", f"{statistic}_high")
    if statistic == "auc":
        words = f"how often a model of the smaller cluster is the lower on {metric}"
        return Measured(f"{words}, published models", one(row, *names, bounds=SHARE))
    words = f"r of the smaller cluster, given the accuracy on MNLI, on {metric}"
    interval = one(row, *names, bounds=DIFFERENCE, scale="logit")
    return Measured(f"{words}, published models", interval)


@paper.below("c8_plateau", "Fig. 1").says(
    "Out of domain, a path between clusters has no barrier to speak of beside its ends' change."
)
@measure(GAPS, parted)
def plateau(results: Results, *, experiment: str, eval_set: str, share: Factor) -> Measured:
    """Return the barrier over the ends, less a share of their difference."""
    rows = _pairs(results, experiment, eval_set)
    rows = rows.loc[rows["pair_type"] == BETWEEN]
    change = 2 * (rows["barrier_mean"] - rows["barrier_endpoint"])  # of the loss, end to end
    rows = rows.assign(value=rows["barrier_endpoint"] - share * change)
    words = f"barrier_endpoint {_on(rows)} between clusters, less {share:g} times the ends' change"
    return Measured(f"mean {words}", results.mean(rows))


@paper.above("c9_apart", "dynamics of the clusters", column="convexity_gap").says(
    "Early in training, models that will end in different clusters are apart already."
)
@measure(DYNAMICS, parted)
def apart(results: Results, *, experiment: str, final: str, eval_set: str, column: str) -> Measured:
    """Return by how much larger an early gap is between the final clusters than within."""
    rows = _early(results, experiment, final, eval_set)
    words = f"{column} {_on(rows)}, between the clusters of {final} less within"
    return Measured(f"{words}, at equal effects of models", results.between(rows, column, final))


@paper.above("c9_grows", "dynamics of the clusters").says(
    "Clusters separate further as training goes on."
)
@measure(ENDS, parted)
def grows(results: Results, *, experiment: str, final: str, eval_set: str) -> Measured:
    """Return how much more gaps grow between the final clusters, which come from them, than within.

    Clusters at the end part the gaps of the end better than any others, so this is above 0 by
    noise, too.
    """
    rows = pair_types(*_clustered_late(results, experiment, final, eval_set))
    between = rows["pair_type"] == BETWEEN
    interval = results.contrast(rows.loc[between], rows.loc[~between], "growth")
    interval |= {"decides": False, "note": "the clusters come from gaps that are in the difference"}
    words = f"mean growth of the convexity_gap {_on(rows)} until {final}"
    return Measured(f"{words}, between its clusters less within", interval)


@paper.above("c9_trapped", "dynamics of the clusters").says(
    "Models stay where they are: two that share a cluster early, or do not, end that way."
)
@measure(ENDS, parted)
def trapped(results: Results, *, experiment: str, final: str, eval_set: str) -> Measured:
    """Return the share of pairs whose clusters agree early and late (Rand).

    Two clusters of chance agree in half of the pairs or more, and models change theirs together.
    """
    rows = pair_types(*_clustered_late(results, experiment, final, eval_set))
    own = results.clusters(experiment)
    together = rows["model_a"].map(own.get) == rows["model_b"].map(own.get)
    rows["value"] = (together == (rows["pair_type"] != BETWEEN)).astype(float)
    interval = results.mean(rows, bounds=SHARE)
    note = "clusters are made anew with every seed, which an interval over seeds does not see"
    words = f"mean share of pairs whose clusters agree early and late (Rand), {experiment}, {final}"
    return Measured(words, interval | {"decides": False, "note": note})


@paper.above("c9_growth", "beside the dynamics", kind="ours").says(
    "Models move apart as training goes on."
)
@measure(DYNAMICS)
def growth(results: Results, *, experiment: str, final: str, eval_set: str) -> Measured:
    """Return how much the convexity gap grows, of all pairs."""
    rows = _early(results, experiment, final, eval_set)
    words = f"mean growth of the convexity_gap {_on(rows)} until {final}, all pairs"
    return Measured(words, results.mean(rows, "growth"))


@paper.above("c9_correlation", "beside the dynamics", kind="ours").says(
    "Which models are apart early tells which are apart at the end.",
    confound="a model that is far from all others, early and late, is enough for it",
)
@measure(DYNAMICS)
def correlation(results: Results, *, experiment: str, final: str, eval_set: str) -> Measured:
    """Return r over pairs of the early and the final convexity gap, a seed left out in turn."""
    rows = _early(results, experiment, final, eval_set)
    first, last = rows["convexity_gap"].to_numpy(), rows["final"].to_numpy()
    words = f"r over pairs of the convexity_gap {_on(rows)} with that of {final}"
    return Measured(words, _fisher(results, rows, first, last))


def _fisher(results: Results, rows: pd.DataFrame, x: np.ndarray, y: np.ndarray) -> Interval:
    """Return r of values of pairs, a model left out in turn."""

    def fisher(kept: np.ndarray) -> float:
        return float(np.arctanh(np.corrcoef(x[kept], y[kept])[0, 1]))

    interval = results.leave_out(fisher, rows)
    interval |= {name: np.tanh(interval[name]) for name in ("mean", "ci_low", "ci_high")}
    return interval | {"bounds": DIFFERENCE, "scale": "logit"}  # which Fisher's z is


def _strategies(results: Results, experiment: str, slice_: str, metric: str) -> pd.DataFrame:
    """Return the pairs in domain, with by how much the two differ in a diagnostic (`strategy`).

    Of the diagnostic, what the accuracy in domain explains linearly is taken out.
    """
    rows = results.gaps(experiment)
    values = _probed(results, experiment, slice_, metric)
    curves = results.rows("paths", experiment=experiment, eval_set=results.in_domain[experiment])
    values[:] = residuals(values.to_numpy(), in_domain(curves, list(values.index)))
    first, second = (np.asarray(values[rows[side]]) for side in ("model_a", "model_b"))
    return rows.assign(strategy=np.abs(first - second))


def _factorial(results: Results, aspect: str, experiment: str, slice_: str | None) -> pd.DataFrame:
    """Return the pairs of a factorial by their barrier in domain, or their accuracy on a slice."""
    rows = results.gaps(experiment)
    levels: dict[str, Any] = {
        factor: results.aspect(aspect, "B2", f"level, {factor}").set_index("models")["value"]
        for factor in FACTORIAL
    }
    strategy = None if slice_ is None else _probed(results, experiment, slice_, "accuracy")
    return pairs(rows, levels, strategy)


def _probed(results: Results, experiment: str, slice_: str, metric: str) -> pd.Series:
    """Return a diagnostic by model."""
    rows = results.probed(experiment, slice_, metric)
    names = rows["recipe"] + "/seed" + rows["seed"].astype(str)
    return pd.Series(rows["value"].to_numpy(float), index=names)


def _explained(slice_: str | None) -> str:
    if slice_ is None:
        return "the barrier_linear that is explained"
    return f"the variance of the accuracy on {slice_} that is explained"


def _pairs(
    results: Results, experiment: str, eval_set: str, clusters: str | None = None, **ids: str
) -> pd.DataFrame:
    """Return the barriers of the loss with their `pair_type`, as all other pairs' gaps say."""
    rows = results.pairs(experiment, eval_set, **ids)
    return results.typed(rows, clusters or experiment)


def _early(results: Results, experiment: str, final: str, eval_set: str) -> pd.DataFrame:
    """Return the pairs of an early experiment with their `final` gap, and its `growth` until."""
    rows, later = (results.pairs(name, eval_set) for name in (experiment, final))
    known = dict(zip(_seeds(later), later["convexity_gap"], strict=True))
    rows = rows.assign(final=[known.get(pair, np.nan) for pair in _seeds(rows)])
    rows = rows.loc[rows["final"].notna()]
    if rows.empty:
        raise UserError(f"{experiment} and {final} have no seeds in common")
    return rows.assign(growth=rows["final"] - rows["convexity_gap"])


def _clustered_late(
    results: Results, experiment: str, final: str, eval_set: str
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the pairs of an early experiment, and its models' clusters in the `final` one."""
    rows = _early(results, experiment, final, eval_set)
    at_end = {m.rpartition("/")[2]: label for m, label in results.clusters(final).items()}
    models = pd.unique(rows[["model_a", "model_b"]].to_numpy().ravel())
    return rows, {model: at_end[model.rpartition("/")[2]] for model in models}


def _seeds(rows: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the seeds of each pair in one order, whichever model comes first on the path."""
    models = rows[["model_a", "model_b"]].to_numpy()
    return [tuple(sorted(model.rpartition("/")[2] for model in pair)) for pair in models]


def _on(rows: pd.DataFrame) -> str:
    """Return what the measured pairs have in common, in words."""
    if rows.empty:
        return "of no pairs"
    names = ["experiment", "path", "alignment", "eval_set"]
    experiment, path, alignment, eval_set = rows.iloc[0][names]
    return f"of the loss on {eval_set} ({experiment}, {path}, {alignment})"


def _association(
    results: Results,
    experiment: str,
    slice_: str,
    metric: str,
    statistic: str,
    measure: str = "convexity_gap",
) -> Interval:
    ids = {"experiment": experiment, "measure": measure, "slice": slice_, "metric": metric}
    row = results.rows("association", **ids, statistic=statistic).iloc[0]
    scale = "logit" if statistic in ("pearson", "partial") else "plain"  # Fisher's z is a logit
    return one(row, "estimate", bounds=DIFFERENCE, scale=scale)
