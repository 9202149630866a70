"""Claims of Mechanistic Mode Connectivity (arXiv 2211.08422), C1 to C12 of its figures and tables.

The evaluation sets are C, images with the cue of their class; NC, without a cue; RC, with a random
cue; and RI, random images with the cue of the label. Options refer to settings: `experiment` to
`connect`, `toy` to `toy`, `group` to `finetune`, `method` and `other` to two of its methods, and
`published` to a cell of Table 1. Like the thresholds they are fixed beforehand: no set, path or
method is selected by its result.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from basins.claims.ledger import Measured, Paper, Shown, measure
from basins.claims.published import Cell, less, reported
from basins.claims.results import DIFFERENCE, LOSS, SHARE, EvalSet, Init, Results
from basins.errors import UserError
from basins.statistics.seeds import ends, span

paper = Paper("mmc", "Mechanistic Mode Connectivity")
CURVES = Shown(("path_grid", "barrier_matrix"), ("barriers",), ("barriers",))
PROBES = Shown(("fine_tuning", "counterfactual_probe"), ("fine_tuning", "accuracy"), ("probes",))
TOYS = Shown(("toy",), (), ("toy/{toy}",))
ALIKE = Shown(("control",), ("barriers",), ("invariance",))
WIDTHS = Shown(("control_sweep",), ("barriers",), ("invariance",))
SAME, DIFFERENT = "same data, separate init", "different data, separate init"
Margin = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Metric = Literal["error", "loss"]


@paper.below("c1_connected", "Prop. 2, Fig. 4", definition="barrier_endpoint").says(
    "A fitted curve from a no-cue to a cue-trained model has no barrier on the data that it was "
    "fitted to."
)
@paper.above("c2_counterfactual", "Def. 5, Fig. 4", definition="barrier_linear").says(
    "The same curve has a barrier above its chord on a set that it was not fitted to."
)
@paper.above("c3_barrier", "Fig. 4", definition="barrier_linear").says(
    "The linear path from a no-cue to a cue-trained model has a barrier, even after matching."
)
@measure(CURVES)
def barrier(
    results: Results,
    *,
    experiment: str,
    path: str = "linear",
    alignment: str = "none",
    eval_set: EvalSet = "nc",
    init: Init = "separate",
    batchnorm: str = "reset",
    definition: str,
) -> Measured:
    """Return the barrier of the error along a path, above its ends or above its chord.

    Args:
        results: the rows.
        experiment: one of `connect`, which joins one recipe to one other.
        path: the kind of path.
        alignment: how the second model is matched to the first.
        eval_set: the set of images.
        init: whether the models of a pair started from the same weights.
        batchnorm: the BatchNorm mode along the path.
        definition: a column of `barriers`.
    """
    ids = {"path": path, "alignment": alignment, "batchnorm": batchnorm}
    return _barrier(results, experiment, eval_set, init, ids, definition=definition)


@paper.below("c4_connected", "Fig. 5", metric="error").says(
    "After naive fine-tuning at a low rate, the linear path to the cue-trained model has no "
    "barrier."
)
@paper.above("c5_barrier", "Fig. 5", metric="error").says(
    "Fine-tuning at a high rate, or from a cue on all images, creates a barrier to the cue-trained "
    "model."
)
@paper.above("c9_barrier", "CBFT's barrier loss", metric="loss").says(
    "The linear path from the cue-trained model to the model tuned by CBFT has a loss barrier on "
    "images with the cue.",
    confound="CBFT's loss asks for it: 1 nat halfway, about .5 above the chord",
)
@measure(CURVES)
def tuned_barrier(
    results: Results,
    *,
    experiment: str,
    group: str,
    method: str,
    batchnorm: str = "reset",
    metric: Metric,
) -> Measured:
    """Return the barrier on C between the cue models and the models tuned from them.

    Args:
        results: the rows.
        experiment: one of `connect`, which joins the two.
        group: one of `finetune`.
        method: one of its methods.
        batchnorm: the BatchNorm mode along the path.
        metric: whether the barrier is of the error or of the loss.
    """
    ids, end = {"batchnorm": batchnorm}, f"{group}/{method}"
    return _barrier(results, experiment, "c", "shared", ids, end=end, metric=metric)


@paper.above("c6_others", "Fig. 5, Table 1").says(
    "After fine-tuning on few clean images by a method other than CBFT, the model still relies on "
    "the cue."
)
@paper.below("c5_reliance", "Fig. 5").says(
    "After fine-tuning at a high rate, or from a cue on all images, the model does not rely on the "
    "cue."
)
@paper.below("c6_reliance", "Table 1").says(
    "A model tuned by CBFT does not rely on the cue on random images."
)
@paper.above("c8_no_barrier_loss", "Table 3").says(
    "A model tuned by CBFT without its barrier loss relies on the cue on random images."
)
@measure(PROBES)
def reliance(
    results: Results, *, group: str, method: str, published: Cell | None = None
) -> Measured:
    """Return the accuracy of a method's models on random images with the label's cue."""
    interval = results.over_seeds(results.accuracy(f"{group}/{method}", "ri"), SHARE)
    words, known = f"mean accuracy on RI of {group}/{method}", reported(published, method, "ri")
    return Measured(words, interval, reported=known)


@paper.above("c4_gap", "Fig. 5, Table 1", cue="rc").says(
    "After naive fine-tuning at a low rate, a random cue misleads the model."
)
@paper.within("c5_gap", "Fig. 5", cue="rc").says(
    "After fine-tuning at a high rate, or from a cue on all images, a random cue does not mislead "
    "the model."
)
@paper.within("c6_random_cue", "Table 1", cue="rc").says(
    "A random cue neither helps nor misleads a model tuned by CBFT."
)
@paper.within("c6_own_cue", "Table 1", cue="c").says(
    "The cue of the image's class neither helps nor misleads a model tuned by CBFT."
)
@paper.above("c8_no_invariance_loss", "Table 3", cue="c").says(
    "The cue of the image's class misleads a model tuned by CBFT without its invariance loss."
)
@measure(PROBES)
def misled(
    results: Results, *, group: str, method: str, published: Cell | None = None, cue: EvalSet
) -> Measured:
    """Return by how much a method's models are more accurate without a cue than with one.

    Args:
        results: the rows.
        group: one of `finetune`.
        method: one of its methods.
        published: the cell of Table 1 with the paper's numbers.
        cue: the set of images with the cue.
    """
    recipe = f"{group}/{method}"
    return _less(results, (recipe, "nc"), (recipe, cue), published)


@paper.above("c6_cost", "Table 1", eval_set="nc").says(
    "Without the cue, CBFT is about as accurate as naive fine-tuning."
)
@paper.above("c7_scratch", "Tables 1 and 4", eval_set="nc").says(
    "Without the cue, CBFT is more accurate than training from scratch on the same clean images."
)
@paper.above("c10_reliance", "Table 1", eval_set="ri").says(
    "On CIFAR-100 with the cue on 90 % of the images, the model tuned by CBFT relies on the cue "
    "more than a model that is fine-tuned by another method."
)
@measure(PROBES)
def against(
    results: Results,
    *,
    group: str,
    method: str,
    other: str,
    published: Cell | None = None,
    eval_set: EvalSet,
) -> Measured:
    """Return by how much a method's models are more accurate than another method's.

    Args:
        results: the rows.
        group: one of `finetune`.
        method: one of its methods.
        other: another of them.
        published: the cell of Table 1 with the paper's numbers.
        eval_set: the set of images.
    """
    first, second = ((f"{group}/{name}", eval_set) for name in (method, other))
    return _less(results, first, second, published)


@paper.above("c11_patterns", "App. F").says(
    "One-layer networks without a barrier under the best permutation share activation patterns."
)
@measure(TOYS)
def patterns(results: Results, *, toy: str, connected: Margin) -> Measured:
    """Return the share of activations that connected networks share."""
    rows = results.rows(f"toy/{toy}").query("barrier_best <= @connected")
    words = f"mean share of common activations, {toy} pairs with a barrier up to {connected}"
    return Measured(words, results.mean(rows, "patterns", SHARE), needs="such pairs")


@paper.below("c11_connected", "App. F", column="barrier_best").says(
    "One-layer networks that rely on the same attribute have no barrier under the best permutation."
)
@paper.above("c11_barrier", "App. F", column="barrier_bound").says(
    "One-layer networks that rely on different attributes have a barrier under every permutation."
)
@measure(TOYS)
def permuted(results: Results, *, toy: str, kind: str, column: str) -> Measured:
    """Return the barrier under the best permutation, or its lower bound over all of them."""
    interval = results.mean(results.rows(f"toy/{toy}", kind=kind), column, LOSS)
    return Measured(f"mean {column} of the loss, {toy} pairs of {kind}", interval)


@paper.above("c12_contrast", "related to Conjecture 1", kind="control").says(
    "After matching, models trained on different data have a higher barrier than models trained on "
    "the same data."
)
@measure(ALIKE)
def by_data(
    results: Results, *, experiment: str, alignment: str, batchnorm: str = "reset"
) -> Measured:
    """Return the barrier between models of different data less that between models of one dataset.

    Args:
        results: the rows.
        experiment: one of `connect`.
        alignment: how the second model is matched to the first.
        batchnorm: the BatchNorm mode along the path.
    """
    different, same = (
        _aligned(results, experiment, kind, alignment, batchnorm) for kind in (DIFFERENT, SAME)
    )
    words = (
        "mean barrier_linear of the error on NC, pairs of different data less pairs of the same "
        f"data ({experiment}, separate init, {alignment}, {batchnorm})"
    )
    return Measured(words, results.contrast(different, same, "barrier_linear"))


@paper.below("c12_conjecture", "related to Conjecture 1", kind="control").says(
    "Models with similar invariances have no barrier after matching.",
    confound="a single matching method may miss the permutation that removes the barrier",
)
@measure(ALIKE)
def alike(
    results: Results,
    *,
    experiment: str,
    kind: str,
    alignment: str,
    similar: Margin,
    batchnorm: str = "reset",
) -> Measured:
    """Return the barrier between models whose invariances differ by up to `similar`.

    Args:
        results: the rows.
        experiment: one of `connect`.
        kind: of pairs, such as `same data, separate init`.
        alignment: how the second model is matched to the first.
        similar: the largest difference of their profiles, a share above 0.
        batchnorm: the BatchNorm mode along the path.
    """
    # The conjecture: a barrier that no permutation removes implies different invariances. A single
    # matching method cannot refute it, so pairs that fail here are candidate counterexamples.
    rows = _aligned(results, experiment, kind, alignment, batchnorm)
    rows = rows.query("distance <= @similar")
    words = (
        f"mean barrier_linear of the error on NC, pairs of {kind} whose invariances differ by up "
        f"to {similar} ({experiment}, {alignment}, {batchnorm})"
    )
    within = span("barrier_linear", "error")
    return Measured(words, results.mean(rows, "barrier_linear", within), needs="such pairs")


@paper.above("c12_narrow", "related to Conjecture 1", kind="control", added=False).says(
    "The barrier that remains after matching between models of the same data is lower in wider "
    "networks.",
    confound="narrower networks are also less accurate, which changes how far the error can rise",
)
@paper.above("c12_mechanism", "related to Conjecture 1", kind="control", added=True).says(
    "After matching, different data add no less to the barrier in wider networks than in narrower "
    "ones."
)
@measure(WIDTHS)
def by_width(
    results: Results,
    *,
    experiment: str,
    wider: str,
    alignment: str,
    batchnorm: str = "reset",
    added: bool,
) -> Measured:
    """Return how the barrier after matching differs between narrower and wider networks.

    Args:
        results: the rows.
        experiment: one of `connect`.
        wider: another, which joins wider networks.
        alignment: how the second model is matched to the first.
        batchnorm: the BatchNorm mode along the path.
        added: if true, measure what different data add to the barrier, in wider networks less
            narrower ones; otherwise the barrier between models of the same data, in narrower
            networks less wider ones.
    """
    aligned = partial(_aligned, results, alignment=alignment, batchnorm=batchnorm)
    words = "mean barrier_linear of the error on NC, pairs of"
    if not added:
        words += f" {SAME}, of {experiment} less {wider} ({alignment}, {batchnorm})"
        narrow, wide = aligned(experiment, SAME), aligned(wider, SAME)
        return Measured(words, results.contrast(narrow, wide, "barrier_linear"))
    signs = {(wider, DIFFERENT): 1, (wider, SAME): -1}
    signs |= {(experiment, DIFFERENT): -1, (experiment, SAME): 1}
    groups = [aligned(*of).assign(sign=sign, of=" ".join(of)) for of, sign in signs.items()]
    rows = pd.concat(groups, ignore_index=True)

    def excess(keep: np.ndarray) -> float:
        kept = rows.loc[keep]
        means = (kept["sign"] * kept["barrier_linear"]).groupby(kept["of"]).mean()
        return float(means.sum(min_count=len(groups)))

    words += f" different data less pairs of the same data, of {wider} less {experiment} "
    words += f"(separate init, {alignment}, {batchnorm})"
    return Measured(words, results.leave_out(excess, rows, (-2, 2)))  # of two differences of shares


def _barrier(
    results: Results,
    experiment: str,
    eval_set: EvalSet,
    init: Init,
    ids: Mapping[str, str],
    *,
    end: str | None = None,
    definition: str = "barrier_linear",
    metric: Metric = "error",
) -> Measured:
    """Return the barrier between models of two recipes, averaged over their pairs.

    `end` is the recipe at t = 1; it may be omitted if the experiment has only one.
    """
    rows = results.pairs(experiment, eval_set, metric=metric, **ids)
    rows = rows.assign(**ends(rows))
    rows = rows.loc[(rows["recipe_a"] != rows["recipe_b"]) & (rows["init"] == init)]
    rows = rows if end is None else rows.loc[rows["recipe_b"] == end]
    joined = sorted({*(rows["recipe_a"] + " to " + rows["recipe_b"])})
    if len(joined) != 1:
        listed = ", ".join(joined) or f"nothing of {init} init"
        raise UserError(f"{experiment} must join one recipe to one other; it joins: {listed}")
    path = {"path": "linear", "alignment": "none", **ids}
    words = (
        f"mean {definition} of the {metric} on {eval_set.upper()}, "
        f"{joined[0]} ({init} init, {', '.join(path.values())})"
    )
    return Measured(words, results.mean(rows, definition, span(definition, metric)))


def _less(
    results: Results, first: tuple[str, str], second: tuple[str, str], cell: Cell | None
) -> Measured:
    """Return the accuracy of one recipe on one set, less that of another, paired by seed."""
    values = results.accuracy(*first) - results.accuracy(*second)
    if values.isna().any():
        raise UserError(f"probes has other seeds of {first[0]} than of {second[0]}")
    words = (f"accuracy on {eval_set.upper()} of {recipe}" for recipe, eval_set in (first, second))
    known = less(*(reported(cell, r.rpartition("/")[2], s) for r, s in (first, second)))
    interval = results.over_seeds(values, DIFFERENCE)
    return Measured("mean " + ", less ".join(words), interval, reported=known)


def _aligned(
    results: Results, experiment: str, kind: str, alignment: str, batchnorm: str
) -> pd.DataFrame:
    """Return the linear barriers of the error with the distances of the invariance profiles."""
    ids = {"alignment": alignment, "batchnorm": batchnorm, "metric": "error"}
    return results.pairs(experiment, "nc", table="invariance", kind=kind, **ids)
