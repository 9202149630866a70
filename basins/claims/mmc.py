"""Claims of Mechanistic Mode Connectivity (arXiv 2211.08422), C1 to C12 of its figures and tables.

C is the set of images with their class's cue, NC without it, RC with a random cue and RI of random
images with the cue of the label. Options name settings: `experiment` is one of `connect`, `toy` one
of `toy`, `group` one of `finetune`, `method` and `other` are two of its methods. They are fixed
beforehand, as thresholds are: no set, path or method is picked by its result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import pandas as pd

from basins.claims.ledger import (
    Decision,
    EvalSet,
    Init,
    Margin,
    Measured,
    Paper,
    Results,
    Threshold,
    entries,
)

WHERE = {
    "c1": "Prop. 2, Fig. 4",
    "c2": "Def. 5, Fig. 4",
    "c3": "Fig. 4",
    "c4": "Fig. 5",
    "c5": "Fig. 5",
    "c6": "Table 1",
    "c7": "Tables 1 and 4",
    "c8": "Table 3",
    "c9": "CBFT's barrier loss",
    "c10": "Table 1",
    "c11": "App. F",
    "c12": "Conjecture 1",
}


def c1_connected(
    results: Results,
    *,
    experiment: str,
    path: str,
    eval_set: EvalSet,
    init: Init = "separate",
    batchnorm: str = "reset",
    threshold: Threshold,
) -> Decision:
    """A curve joins a no-cue to a cue model without a barrier on the data it was fitted to."""
    found = results.barrier(
        experiment, eval_set, init, path=path, batchnorm=batchnorm, definition="barrier_endpoint"
    )
    return found.below(threshold)


def c2_counterfactual(
    results: Results,
    *,
    experiment: str,
    path: str,
    eval_set: EvalSet,
    init: Init = "separate",
    batchnorm: str = "reset",
    threshold: Threshold,
) -> Decision:
    """The same curve has a barrier, inside and over its chord, on a set it was not fitted to."""
    found = results.barrier(experiment, eval_set, init, path=path, batchnorm=batchnorm)
    return found.above(threshold)


def c3_barrier(
    results: Results,
    *,
    experiment: str,
    alignment: str,
    init: Init = "separate",
    batchnorm: str = "reset",
    threshold: Threshold,
) -> Decision:
    """The linear path from a no-cue to a cue model has a barrier, also after permuting units."""
    found = results.barrier(experiment, "nc", init, alignment=alignment, batchnorm=batchnorm)
    return found.above(threshold)


def c4_connected(
    results: Results,
    *,
    experiment: str,
    group: str,
    method: str,
    batchnorm: str = "reset",
    threshold: Threshold,
) -> Decision:
    """Naive fine-tuning at a low rate leaves no barrier on the linear path from the cue model."""
    return _from_cue_model(results, experiment, group, method, batchnorm).below(threshold)


def c4_reliance(results: Results, *, group: str, method: str, threshold: Threshold) -> Decision:
    """Naive fine-tuning at a low rate leaves a model that reads the cue on a random image."""
    return results.accuracy(f"{group}/{method}", "ri").above(threshold)


def c4_gap(results: Results, *, group: str, method: str, threshold: Threshold) -> Decision:
    """Naive fine-tuning at a low rate leaves a model that a random cue misleads."""
    return _gap(results, group, method, "rc").above(threshold)


def c5_barrier(
    results: Results,
    *,
    experiment: str,
    group: str,
    method: str,
    batchnorm: str = "reset",
    threshold: Threshold,
) -> Decision:
    """Fine-tuning at a high rate, or from a cue on all images, makes a barrier to the cue model."""
    return _from_cue_model(results, experiment, group, method, batchnorm).above(threshold)


def c5_gap(results: Results, *, group: str, method: str, threshold: Margin) -> Decision:
    """Fine-tuning at a high rate, or from a cue on all images, ends where no cue misleads."""
    return _gap(results, group, method, "rc").within(threshold)


def c5_reliance(results: Results, *, group: str, method: str, threshold: Threshold) -> Decision:
    """Fine-tuning at a high rate, or from a cue on all images, ends where the cue is not read."""
    return results.accuracy(f"{group}/{method}", "ri").below(threshold)


def c6_others(results: Results, *, group: str, method: str, threshold: Threshold) -> Decision:
    """Fine-tuning on few clean images by another method than CBFT leaves the cue being read."""
    return results.accuracy(f"{group}/{method}", "ri").above(threshold)


def c6_random_cue(results: Results, *, group: str, method: str, threshold: Margin) -> Decision:
    """CBFT ends with a model that a random cue neither helps nor misleads."""
    return _gap(results, group, method, "rc").within(threshold)


def c6_own_cue(results: Results, *, group: str, method: str, threshold: Margin) -> Decision:
    """CBFT ends with a model that its class's cue neither helps nor misleads."""
    return _gap(results, group, method, "c").within(threshold)


def c6_reliance(results: Results, *, group: str, method: str, threshold: Threshold) -> Decision:
    """CBFT ends with a model that does not read the cue on a random image."""
    return results.accuracy(f"{group}/{method}", "ri").below(threshold)


def c6_cost(
    results: Results, *, group: str, method: str, other: str, threshold: Threshold
) -> Decision:
    """CBFT is about as accurate without the cue as naive fine-tuning."""
    return _against(results, group, method, other, "nc").above(threshold)


def c7_scratch(
    results: Results, *, group: str, method: str, other: str, threshold: Threshold
) -> Decision:
    """CBFT is more accurate without the cue than training from scratch on the same clean images."""
    return _against(results, group, method, other, "nc").above(threshold)


def c8_no_barrier_loss(
    results: Results, *, group: str, method: str, threshold: Threshold
) -> Decision:
    """CBFT without its barrier loss leaves a model that reads the cue on a random image."""
    return results.accuracy(f"{group}/{method}", "ri").above(threshold)


def c8_no_invariance_loss(
    results: Results, *, group: str, method: str, threshold: Threshold
) -> Decision:
    """CBFT without its invariance loss can leave a model that its class's own cue misleads."""
    return _gap(results, group, method, "c").above(threshold)


def c9_barrier(
    results: Results,
    *,
    experiment: str,
    group: str,
    method: str,
    batchnorm: str = "reset",
    threshold: Threshold,
) -> Decision:
    """The linear path from the cue model to CBFT's has a barrier of the loss where the cue is."""
    return _from_cue_model(results, experiment, group, method, batchnorm, "loss").above(threshold)


def c10_reliance(
    results: Results, *, group: str, method: str, other: str, threshold: Threshold
) -> Decision:
    """Of CIFAR-100 with 90 % cues, CBFT's model reads the cue more than naive fine-tuning's."""
    return _against(results, group, method, other, "ri").above(threshold)


def c11_patterns(
    results: Results, *, toy: str, connected: Margin, threshold: Threshold
) -> Decision:
    """One-layer networks without a barrier after permuting share their activation patterns."""
    rows = results.rows(f"toy/{toy}").query("barrier_best <= @connected")
    statistic = f"share of activations in common, {toy} pairs with a barrier up to {connected}"
    return results.mean(statistic, rows, "patterns").above(threshold)


def c11_connected(results: Results, *, toy: str, kind: str, threshold: Threshold) -> Decision:
    """One-layer networks that rely on the same attribute have no barrier after permuting."""
    rows = results.rows(f"toy/{toy}", kind=kind)
    statistic = f"barrier_linear of the loss under the best permutation, {toy} pairs of {kind}"
    return results.mean(statistic, rows, "barrier_best").below(threshold)


def c11_barrier(results: Results, *, toy: str, kind: str, threshold: Threshold) -> Decision:
    """One-layer networks that rely on different attributes have a barrier however permuted."""
    rows = results.rows(f"toy/{toy}", kind=kind)
    statistic = f"least barrier_linear of the loss over all permutations, {toy} pairs of {kind}"
    return results.mean(statistic, rows, "barrier_bound").above(threshold)


def c12_contrast(
    results: Results,
    *,
    experiment: str,
    alignment: str,
    eval_set: EvalSet = "nc",
    batchnorm: str = "reset",
    threshold: Threshold,
) -> Decision:
    """After alignment, models of different data have a higher barrier than models of the same."""
    different, same = (
        _aligned(results, experiment, f"{data} data, separate init", alignment, eval_set, batchnorm)
        for data in ("different", "same")
    )
    statistic = (
        f"barrier_linear of the error on {eval_set.upper()}, pairs of different data less pairs of "
        f"the same ({experiment}, separate init, {alignment}, {batchnorm})"
    )
    return results.contrast(statistic, different, same, "barrier_linear").above(threshold)


def c12_conjecture(
    results: Results,
    *,
    experiment: str,
    kind: str,
    alignment: str,
    similar: Margin,
    eval_set: EvalSet = "nc",
    batchnorm: str = "reset",
    threshold: Threshold,
) -> Decision:
    """Models whose invariances agree have no barrier left after alignment."""
    # The conjecture: a barrier that no permutation takes away means unlike invariances. One method
    # of alignment cannot refute it, so pairs that fail here are candidates for a counterexample.
    rows = _aligned(results, experiment, kind, alignment, eval_set, batchnorm)
    rows = rows.query("distance <= @similar")
    statistic = (
        f"barrier_linear of the error on {eval_set.upper()}, pairs of {kind} whose invariances "
        f"differ by up to {similar} ({experiment}, {alignment}, {batchnorm})"
    )
    return results.mean(statistic, rows, "barrier_linear").below(threshold)


def decide(
    tables: Mapping[str, pd.DataFrame],
    settings: Mapping[str, Mapping[str, Any]],
    confidence: float,
) -> Iterator[dict[str, Any]]:
    """Yield the ledger's entry of each claim in `settings`: `name`, one of `CLAIMS`, and options.

    Raises `UserError`, naming the claim and what there is, where its rows are missing.
    """
    paper = Paper("mmc", "Mechanistic Mode Connectivity", WHERE, CLAIMS)
    return entries(paper, Results(tables, confidence), settings)


def _from_cue_model(
    results: Results,
    experiment: str,
    group: str,
    method: str,
    batchnorm: str,
    metric: Literal["error", "loss"] = "error",
) -> Measured:
    """Return the barrier on C from the cue models to those that were fine-tuned from them."""
    end = f"{group}/{method}"
    return results.barrier(experiment, "c", "shared", end=end, batchnorm=batchnorm, metric=metric)


def _gap(results: Results, group: str, method: str, eval_set: EvalSet) -> Measured:
    """Return how much more accurate a method's models are without a cue than on `eval_set`."""
    recipe = f"{group}/{method}"
    return results.accuracy(recipe, "nc", less=(recipe, eval_set))


def _against(results: Results, group: str, method: str, other: str, eval_set: EvalSet) -> Measured:
    """Return how much more accurate a method's models are than another's."""
    return results.accuracy(f"{group}/{method}", eval_set, less=(f"{group}/{other}", eval_set))


def _aligned(
    results: Results, experiment: str, kind: str, alignment: str, eval_set: str, batchnorm: str
) -> pd.DataFrame:
    """Return the linear barriers of the error, beside the distances of the invariance profiles."""
    chosen = {"path": "linear", "alignment": alignment, "batchnorm": batchnorm}
    chosen |= {"eval_set": eval_set, "metric": "error"}
    return results.rows("invariance", experiment=experiment, kind=kind, **chosen)


CLAIMS: dict[str, Callable[..., Decision]] = {
    function.__name__: function
    for function in (
        c1_connected,
        c2_counterfactual,
        c3_barrier,
        c4_connected,
        c4_reliance,
        c4_gap,
        c5_barrier,
        c5_gap,
        c5_reliance,
        c6_others,
        c6_random_cue,
        c6_own_cue,
        c6_reliance,
        c6_cost,
        c7_scratch,
        c8_no_barrier_loss,
        c8_no_invariance_loss,
        c9_barrier,
        c10_reliance,
        c11_patterns,
        c11_connected,
        c11_barrier,
        c12_contrast,
        c12_conjecture,
    )
}
