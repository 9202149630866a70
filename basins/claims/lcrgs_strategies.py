"""Claims of LCRGS about strategies: how clusters and scores of models relate to generalisation.

Options refer to settings: `experiment` to `connect`, `slice` and `metric` to what a probe measured.
The claims apply where models have learned their task and differ by more than the diagnostic's
noise. The paper's smaller clusters are the worse ones, so its correlations are negative.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from basins.claims.ledger import Measured, Paper, Shown, measure
from basins.claims.pairs import by_model, correlation, parted
from basins.claims.results import DIFFERENCE, SHARE, Interval, Results, learned, one, varied
from basins.seeds import generator
from basins.statistics.association import pearson, permutation_p, residuals, unconfirmed
from basins.statistics.strategies import in_domain

part = Paper("lcrgs", "the strategies of its models")
SCORES = Shown(("strategy",), (), ("association",))
RIVALS = Shown(("strategy", "sharpness"), (), ("association",))
CLUSTERS = Shown(("convexity_gaps",), ("clusters",), ("barriers", "probes", "paths"))
PAIRS = Shown(("strategy",), (), ("barriers", "probes", "paths"))
BY_CLUSTER = Shown(("cluster_histogram",), (), ("association",))
SLICES = Shown(("cluster_histogram",), (), ("probes", "clusters"))
PUBLISHED = Shown(("published_models",), ("published_models",), ("published_models",))


@part.above("strategy_between", "related to the scatter plots", kind="ours", shown=CLUSTERS).says(
    "At equal accuracy, models of different clusters differ more in strategy than models of one "
    "cluster."
)
@measure(SCORES, parted, learned, varied)
def strategy_between(
    results: Results, *, experiment: str, slice: str, metric: str = "accuracy"
) -> Measured:
    """Return by how much more models of different clusters differ in a diagnostic.

    The clusters are part of the estimate.
    """
    rows, _ = _strategies(results, experiment, slice, metric)
    words = f"difference in the {metric} on {slice}, at equal accuracy in distribution"
    interval = results.between(rows, "strategy", experiment)
    return Measured(f"{words}: between clusters less within ({experiment})", interval)


@part.above("strategy_gap", "related to the scatter plots", kind="ours", shown=PAIRS).says(
    "The larger the convexity gap between two models in distribution, the more they differ in "
    "strategy, at equal accuracy."
)
@measure(SCORES, learned, varied)
def strategy_gap(
    results: Results, *, experiment: str, slice: str, metric: str = "accuracy"
) -> Measured:
    """Return r over pairs of the convexity gap and the difference in a diagnostic.

    The correlation must also exceed those of the diagnostic permuted over models, since a few
    models that are far from all others make the interval too narrow.
    """
    rows, values = _strategies(results, experiment, slice, metric)
    places = rows[["model_a", "model_b"]].apply(values.index.get_indexer).to_numpy().T
    gaps, own = rows["convexity_gap"].to_numpy(), values.to_numpy()

    def over_pairs(_: np.ndarray, own: np.ndarray) -> np.ndarray:
        return pearson(gaps, np.abs(own[..., places[0]] - own[..., places[1]]))

    interval = correlation(results, rows, gaps, rows["strategy"].to_numpy())
    p = permutation_p(over_pairs, own, own, generator("strategy", experiment, slice), 1999)
    words = f"r over pairs of the convexity_gap and the difference in the {metric} on {slice}"
    return Measured(f"{words} ({experiment})", _confirmed(interval, p, results.confidence))


@part.below("c4_score", "scatter plots", statistic="pearson").says(
    "A score computed from the loss in distribution alone correlates with how models generalise."
)
@part.below("c4_given", "related to the scatter plots", kind="ours", statistic="partial").says(
    "The score correlates with how models generalise even at equal accuracy in distribution."
)
@part.above("c10_rival", "distance against convexity gap", shown=RIVALS, statistic="behind").says(
    "The convexity gap predicts how models generalise better than a simpler measure does."
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
        "partial": "partial r of the score, given the accuracy in distribution,",
        "behind": f"|r| of the convexity gap's score, less that of the {rival},",
    }[statistic] + f" with the {metric} on {slice} ({experiment})"
    return Measured(words, interval)


@part.above("c5_reversed", "HANS by cluster").says(
    "The smaller cluster is not worse on every heuristic: on constituents it is better."
)
@part.below("c6_paws", "PAWS by cluster").says(
    "The smaller cluster is worse at distinguishing paraphrases from sentences with the same words "
    "in another order."
)
@measure(BY_CLUSTER, parted, learned, varied)
def difference(
    results: Results, *, experiment: str, slice: str, metric: str = "accuracy"
) -> Measured:
    """Return the mean of a diagnostic over the smaller cluster, less that over the larger."""
    interval = _association(results, experiment, slice, metric, "difference")
    interval = results.steady(interval, experiment)
    words = f"mean {metric} on {slice} of the smaller cluster, less that of the larger"
    return Measured(f"{words} ({experiment})", interval)


@part.below("c5_swap", "HANS by cluster").says(
    "The smaller cluster ignores word order: it predicts that a sentence entails the same one with "
    "subject and object swapped."
)
@part.above("c5_entailed", "HANS by cluster").says(
    "The smaller cluster recognises entailment where premise and hypothesis share their words."
)
@measure(SLICES, parted, learned)
def smaller(results: Results, *, experiment: str, slice: str, metric: str = "accuracy") -> Measured:
    """Return the mean of a diagnostic over the models of the smaller cluster."""
    rows = results.probed(experiment, slice, metric, smaller=True)
    words = f"mean {metric} on {slice} of the smaller cluster ({experiment})"
    return Measured(words, results.steady(results.mean(rows, bounds=SHARE), experiment))


@part.above("c4_published", "histograms", statistic="auc").says(
    "The cluster of a published model predicts its accuracy on HANS."
)
@part.below(
    "c4_published_given", "related to the histograms", kind="ours", statistic="partial"
).says(
    "The clusters of the published models correlate with accuracy on HANS even at equal accuracy "
    "on MNLI."
)
@measure(PUBLISHED)
def published(
    results: Results,
    *,
    metric: str = "Lexical (nonent)",
    statistic: Literal["auc", "partial"],
) -> Measured:
    """Return how cluster membership relates to a diagnostic among the paper's own models."""
    row = results.rows("published_models", metric=metric).iloc[0]
    names = (statistic, f"{statistic}_low", f"{statistic}_high")
    if statistic == "auc":
        words = f"how often a model of the smaller cluster has the lower accuracy on {metric}"
        return Measured(f"{words}, published models", one(row, *names, bounds=SHARE))
    words = (
        f"partial r of membership of the smaller cluster, given the accuracy on MNLI, on {metric}"
    )
    interval = one(row, *names, bounds=DIFFERENCE, scale="logit")
    return Measured(f"{words}, published models", interval)


def _strategies(
    results: Results, experiment: str, slice_: str, metric: str
) -> tuple[pd.DataFrame, pd.Series]:
    """Return the pairs in distribution, with how much they differ in a diagnostic (`strategy`).

    The diagnostic is the residual of its linear regression on the accuracy in distribution, which
    is also returned, by model.
    """
    rows = results.gaps(experiment)
    values = by_model(results, experiment, slice_, metric)
    curves = results.rows("paths", experiment=experiment, eval_set=results.in_domain[experiment])
    values[:] = residuals(values.to_numpy(), in_domain(curves, list(values.index)))
    first, second = (np.asarray(values[rows[side]]) for side in ("model_a", "model_b"))
    return rows.assign(strategy=np.abs(first - second)), values


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
    interval = one(row, "estimate", bounds=DIFFERENCE, scale=scale)
    p = float(row["p"])
    return interval if np.isnan(p) else _confirmed(interval, p, results.confidence, held=True)


def _confirmed(interval: Interval, p: float, confidence: float, *, held: bool = False) -> Interval:
    """Return an interval that, where it excludes 0, decides only if the permutation test agrees.

    If `held`, the test's p also enters Holm's correction: the interval's may be too small.
    """
    apart = interval["ci_low"] > 0 or interval["ci_high"] < 0
    if not interval["decides"] or not apart:
        return interval
    note = unconfirmed(p, confidence)
    return interval | {"decides": not note, "note": note} | ({"p": p} if held else {})
