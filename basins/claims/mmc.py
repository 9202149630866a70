"""Claims of Mechanistic Mode Connectivity (arXiv 2211.08422), C1 to C12 of its figures and tables.

C is the set of images with their class's cue, NC without it, RC with a random cue and RI of random
images with the cue of the label. Options name settings: `experiment` is one of `connect`, `toy` one
of `toy`, `group` one of `finetune`, `method` and `other` are two of its methods, `published` a cell
of Table 1. They are fixed beforehand, as thresholds are: no set, path or method is picked by its
result.
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
    "A curve joins a no-cue to a cue-trained model without a barrier on the data it was fitted to."
)
@paper.above("c2_counterfactual", "Def. 5, Fig. 4", definition="barrier_linear").says(
    "The same curve has a barrier, inside and over its chord, on a set it was not fitted to."
)
@paper.above("c3_barrier", "Fig. 4", definition="barrier_linear").says(
    "A linear path from a no-cue to a cue-trained model has a barrier, also after permuting units."
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
    """Return the barrier of the error over the ends of a path, or over its chord.

    Args:
        results: the rows.
        experiment: one of `connect`, which joins one recipe to one other.
        path: the kind of path.
        alignment: how the second model is brought to the first.
        eval_set: the set of images.
        init: whether the models of a pair started from the same weights.
        batchnorm: the mode of BatchNorm statistics along the path.
        definition: a column of `barriers`.
    """
    ids = {"path": path, "alignment": alignment, "batchnorm": batchnorm}
    return _barrier(results, experiment, eval_set, init, ids, definition=definition)


@paper.below("c4_connected", "Fig. 5", metric="error").says(
    "Naive fine-tuning at a low rate leaves no barrier on the linear path to the cue-trained model."
)
@paper.above("c5_barrier", "Fig. 5", metric="error").says(
    "With a high rate or a cue on all images, fine-tuning makes a barrier to the cue-trained model."
)
@paper.above("c9_barrier", "CBFT's barrier loss", metric="loss").says(
    "The linear path from the cue-trained to CBFT's model has a loss barrier where the cue is.",
    confound="CBFT's loss asks for it: 1 nat half-way, about .5 over the chord",
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
    """Return the barrier on C from the cue models to those that were tuned from them.

    Args:
        results: the rows.
        experiment: one of `connect`, which joins the two.
        group: one of `finetune`.
        method: one of its methods.
        batchnorm: the mode of BatchNorm statistics along the path.
        metric: what the barrier is of.
    """
    ids, end = {"batchnorm": batchnorm}, f"{group}/{method}"
    return _barrier(results, experiment, "c", "shared", ids, end=end, metric=metric)


@paper.above("c6_others", "Fig. 5, Table 1").says(
    "Fine-tuning on few clean images by another method than CBFT leaves reliance on the cue."
)
@paper.below("c5_reliance", "Fig. 5").says(
    "Fine-tuning at a high rate, or from a cue on all images, ends without reliance on the cue."
)
@paper.below("c6_reliance", "Table 1").says(
    "CBFT ends with a model that does not rely on the cue on a random image."
)
@paper.above("c8_no_barrier_loss", "Table 3").says(
    "CBFT without its barrier loss leaves a model that relies on the cue on a random image."
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
    "Naive fine-tuning at a low rate leaves a model that a random cue misleads."
)
@paper.within("c5_gap", "Fig. 5", cue="rc").says(
    "Fine-tuning at a high rate, or from a cue on all images, ends where no cue misleads."
)
@paper.within("c6_random_cue", "Table 1", cue="rc").says(
    "CBFT ends with a model that a random cue neither helps nor misleads."
)
@paper.within("c6_own_cue", "Table 1", cue="c").says(
    "CBFT ends with a model that its class's cue neither helps nor misleads."
)
@paper.above("c8_no_invariance_loss", "Table 3", cue="c").says(
    "CBFT without its invariance loss leaves a model that its class's own cue misleads."
)
@measure(PROBES)
def misled(
    results: Results, *, group: str, method: str, published: Cell | None = None, cue: EvalSet
) -> Measured:
    """Return how much more accurate a method's models are without a cue than with one.

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
    "CBFT is about as accurate without the cue as naive fine-tuning."
)
@paper.above("c7_scratch", "Tables 1 and 4", eval_set="nc").says(
    "CBFT is more accurate without the cue than training from scratch on the same clean images."
)
@paper.above("c10_reliance", "Table 1", eval_set="ri").says(
    "Of CIFAR-100 with 90 % cues, CBFT's model relies on the cue more than naive fine-tuning's."
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
    """Return how much more accurate a method's models are than another's.

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
    "One-layer networks without a barrier after permuting share their activation patterns."
)
@measure(TOYS)
def patterns(results: Results, *, toy: str, connected: Margin) -> Measured:
    """Return the share of activations that connected networks have in common."""
    rows = results.rows(f"toy/{toy}").query("barrier_best <= @connected")
    words = f"mean share of activations in common, {toy} pairs with a barrier up to {connected}"
    return Measured(words, results.mean(rows, "patterns", SHARE), needs="such pairs")


@paper.below("c11_connected", "App. F", column="barrier_best").says(
    "One-layer networks that rely on the same attribute have no barrier after permuting."
)
@paper.above("c11_barrier", "App. F", column="barrier_bound").says(
    "One-layer networks that rely on different attributes have a barrier however permuted."
)
@measure(TOYS)
def permuted(results: Results, *, toy: str, kind: str, column: str) -> Measured:
    """Return the barrier under the best permutation, or its lower bound over all of them."""
    interval = results.mean(results.rows(f"toy/{toy}", kind=kind), column, LOSS)
    return Measured(f"mean {column} of the loss, {toy} pairs of {kind}", interval)


@paper.above("c12_contrast", "beside Conjecture 1", kind="control").says(
    "After alignment, models of different data have a higher barrier than models of the same."
)
@measure(ALIKE)
def by_data(
    results: Results, *, experiment: str, alignment: str, batchnorm: str = "reset"
) -> Measured:
    """Return the barrier between models of different data, less that between models of the same.

    Args:
        results: the rows.
        experiment: one of `connect`.
        alignment: how the second model is brought to the first.
        batchnorm: the mode of BatchNorm statistics along the path.
    """
    different, same = (
        _aligned(results, experiment, kind, alignment, batchnorm) for kind in (DIFFERENT, SAME)
    )
    words = (
        "mean barrier_linear of the error on NC, pairs of different data less pairs of the same "
        f"({experiment}, separate init, {alignment}, {batchnorm})"
    )
    return Measured(words, results.contrast(different, same, "barrier_linear"))


@paper.below("c12_conjecture", "beside Conjecture 1", kind="control").says(
    "Models whose invariances agree have no barrier left after alignment.",
    confound="one method of alignment may miss the permutation that takes the barrier away",
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
        alignment: how the second model is brought to the first.
        similar: the largest difference of their profiles, a share above 0.
        batchnorm: the mode of BatchNorm statistics along the path.
    """
    # The conjecture: a barrier that no permutation takes away means unlike invariances. One method
    # of alignment cannot refute it, so pairs that fail here are candidates for a counterexample.
    rows = _aligned(results, experiment, kind, alignment, batchnorm)
    rows = rows.query("distance <= @similar")
    words = (
        f"mean barrier_linear of the error on NC, pairs of {kind} whose invariances differ by up "
        f"to {similar} ({experiment}, {alignment}, {batchnorm})"
    )
    within = span("barrier_linear", "error")
    return Measured(words, results.mean(rows, "barrier_linear", within), needs="such pairs")


@paper.above("c12_narrow", "beside Conjecture 1", kind="control", added=False).says(
    "The barrier that alignment leaves between models of the same data is lower in wide networks.",
    confound="a narrower network is less accurate, too, and has more error to gain",
)
@paper.above("c12_mechanism", "beside Conjecture 1", kind="control", added=True).says(
    "What different data add to the barrier after alignment is no less in wide networks."
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
    """Return how the barrier after alignment differs between narrower and wider networks.

    Args:
        results: the rows.
        experiment: one of `connect`.
        wider: another, which joins wider networks.
        alignment: how the second model is brought to the first.
        batchnorm: the mode of BatchNorm statistics along the path.
        added: measure what different data add to the barrier, in wider networks less narrower;
            else the barrier between models of the same data, in narrower networks less wider.
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

    words += f" different data less pairs of the same, of {wider} less {experiment} "
    words += f"(separate init, {alignment}, {batchnorm})"
    return Measured(words, results.leave_out(excess, rows, DIFFERENCE))


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

    `end` is the recipe at t = 1, which may be left out where the experiment has one.
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
    """Return the accuracy of a recipe's models on a set, less that of another's, seed by seed."""
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
    """Return the linear barriers of the error, beside the distances of the invariance profiles."""
    ids = {"alignment": alignment, "batchnorm": batchnorm, "metric": "error"}
    return results.pairs(experiment, "nc", table="invariance", kind=kind, **ids)
