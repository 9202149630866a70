"""Do clusters on the loss surface correlate with strategies out of distribution (LCRGS, section 4)?

Scores of models are computed from their curves in distribution alone, without the diagnostics. The
convexity gap is the paper's measure. It is compared with the barrier above the chord, the Euclidean
distance of the models, and their sharpness, which is not of pairs and gives no clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from basins.errors import UserError
from basins.landscape.barriers import barrier_linear, convexity_gap
from basins.seeds import generator
from basins.statistics import association, cluster_rows, clusters

CURVES: dict[str, Callable[[ArrayLike, ArrayLike], np.ndarray]] = {
    "convexity_gap": convexity_gap,
    "barrier_linear": barrier_linear,
}
MEASURES = (*CURVES, "distance")  # the paper's own first
JOIN = ["experiment", "path", "alignment", "batchnorm", "eval_set", "pair_type"]
INTERVAL = ["mean", "ci_low", "ci_high", "seeds", "pairs"]
DIAGNOSTIC = ["diagnostic", "slice", "metric"]
ESTIMATE = ["estimate", "ci_low", "ci_high", "p", "n"]
STRAIGHT = {"path": "linear", "alignment": "none", "batchnorm": "interpolate"}
"""The curves that clusters come from, as in the paper."""

TABLES = {
    "clusters": ["experiment", "measure", "model", "cluster", "score"]
    + ["stability", "stability_examples"],
    "cluster_choice": ["experiment", "measure", "statistic", "width", "k", *ESTIMATE],
    "association": ["experiment", "measure", *DIAGNOSTIC, "statistic", *ESTIMATE],
    "pair_types": [*JOIN, "t", "metric", *INTERVAL],
    "pair_barriers": [*JOIN, "metric", "definition", *INTERVAL],
}
"""The tables of an experiment, and their columns."""


def analyse(
    key: str,
    paths: pd.DataFrame,
    barriers: pd.DataFrame,
    probes: pd.DataFrame,
    resampled: Mapping[tuple[str, str], Mapping[str, np.ndarray]],
    *,
    chosen: Mapping[str, str],
    slices: Sequence[str],
    sharpness: Mapping[str, float] | None = None,
    k: int | None = 2,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> dict[str, pd.DataFrame]:
    """Return, by name, the `TABLES` of one experiment (docs/formats.md).

    Args:
        key: the name from which all random streams derive.
        paths: the experiment's rows of points.
        barriers: its rows of pairs.
        probes: rows of models on diagnostics, of other models too.
        resampled: by pair, the `CURVES` measures on resampled examples [R], or nothing.
        chosen: the `path`, `alignment`, `batchnorm` and `eval_set` that clusters come from.
        slices: the diagnostics: `<slice>`, for its accuracy, or `<slice>:<metric>`.
        sharpness: of every model, by name, if it has been measured.
        k: the number of clusters; None takes the number that is found.
        resamples: the number of permutations over models.
        confidence: of intervals.

    Raises `UserError` if requested rows are missing.
    """
    pairs = _where(barriers, {**chosen, "metric": "loss"}, key)
    curves = _where(paths, chosen, key)
    models, _ = clusters.matrix(pairs, "convexity_gap")
    diagnostics = _diagnostics(probes, models, slices, key)
    accuracy = in_domain(curves, models)
    made: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    ids = {"experiment": pairs["experiment"].iloc[0]}
    scores: dict[str, np.ndarray] = {}
    small: dict[str, np.ndarray] = {}
    for measure in MEASURES:
        _, gaps = clusters.matrix(pairs, measure)
        noisy = _matrices(models, {pair: drawn.get(measure) for pair, drawn in resampled.items()})
        stream = generator("clusters", key, measure)
        found = cluster_rows.find(models, gaps, noisy, stream, k=k, confidence=confidence)
        about = ids | {"measure": measure}
        made["clusters"].append(_beside(about, found.models))
        made["cluster_choice"].append(_beside(about, found.statistics))
        scores[measure] = found.models["score"].to_numpy()
        small[measure] = found.models["cluster"].to_numpy() > 0
    if sharpness is not None:
        scores["sharpness"] = _of_all(sharpness, models, key)
    for (measure, score), (labels, values) in product(scores.items(), diagnostics.items()):
        rows = association.rows(
            score,
            small.get(measure),
            values,
            accuracy,
            generator("association", key, measure, *labels),
            resamples,
            confidence,
            against=None if measure == "convexity_gap" else scores["convexity_gap"],
        )
        about = ids | {"measure": measure} | dict(zip(DIAGNOSTIC, labels, strict=True))
        made["association"].append(_beside(about, pd.DataFrame(rows)))
    own = made["clusters"][0]  # by the convexity gap
    cluster = dict(zip(own["model"], own["cluster"], strict=True))
    types = cluster_rows.summarise_types(paths, barriers, cluster, confidence)
    for name, rows in zip(("pair_types", "pair_barriers"), types, strict=True):
        made[name].append(rows)
    # Without diagnostics there are no associations.
    made["association"] = made["association"] or [pd.DataFrame(columns=TABLES["association"])]
    return {name: pd.concat(parts, ignore_index=True) for name, parts in made.items()}


def in_domain(curves: pd.DataFrame, models: Sequence[str]) -> np.ndarray:
    """Return the accuracy of every model, a share, from the ends of the curves between them."""
    starts = curves.loc[curves["t"] == 0, ["model_a", "accuracy"]].to_numpy()
    ends = curves.loc[curves["t"] == 1, ["model_b", "accuracy"]].to_numpy()
    accuracies = pd.DataFrame(np.vstack([starts, ends]), columns=["model", "accuracy"])
    means = accuracies.astype({"accuracy": float}).pivot_table(values="accuracy", index="model")
    return means.loc[list(models), "accuracy"].to_numpy()


def _of_all(sharpness: Mapping[str, float], models: Sequence[str], key: str) -> np.ndarray:
    for model in models:
        if model not in sharpness:
            raise UserError(f"clusters.{key}.sharpness: {model} has none; measure its recipe")
    return np.array([sharpness[model] for model in models])


def _diagnostics(
    probes: pd.DataFrame, models: Sequence[str], slices: Sequence[str], key: str
) -> dict[tuple[str, str, str], np.ndarray]:
    """Return the values of all models [N] by diagnostic, slice and metric."""
    named = probes.assign(model=probes["recipe"] + "/seed" + probes["seed"].astype(str))
    diagnostics = {}
    for name in slices:
        slice_, _, metric = name.partition(":")
        kept = (named["slice"] == slice_) & (named["metric"] == (metric or "accuracy"))
        rows = named.loc[kept & named["model"].isin(list(models))]
        for diagnostic in rows["diagnostic"].unique():
            values = rows.loc[rows["diagnostic"] == diagnostic].set_index("model")["value"]
            if values.index.is_unique and set(values.index) == set(models):
                labels = str(diagnostic), slice_, metric or "accuracy"
                diagnostics[labels] = values.loc[list(models)].to_numpy(float)
        if not any(labels[1:] == (slice_, metric or "accuracy") for labels in diagnostics):
            there = named.loc[named["model"].isin(list(models))]
            known = list((there["slice"] + ":" + there["metric"]).unique())
            nearest = get_close_matches(name, known, 8, cutoff=0)
            raise UserError(
                f"clusters.{key}.diagnostics: not every model of the experiment has {name!r}; "
                f"their probes have: {', '.join(nearest) or 'none'}"
            )
    return diagnostics


def _matrices(
    models: Sequence[str], resampled: Mapping[tuple[str, str], np.ndarray | None]
) -> np.ndarray | None:
    """Return matrices [R, N, N] from a measure by pair [R]; None if a pair has none."""
    values = [value for value in resampled.values() if value is not None]
    if len(values) < len(models) * (len(models) - 1) // 2:
        return None
    place = {model: index for index, model in enumerate(models)}
    matrices = np.zeros((len(values[0]), len(models), len(models)))
    for (a, b), value in resampled.items():
        matrices[:, place[a], place[b]] = matrices[:, place[b], place[a]] = value
    return matrices


def _where(table: pd.DataFrame, equal: Mapping[str, str], key: str) -> pd.DataFrame:
    for column, value in equal.items():
        kept = table.loc[table[column] == value]
        if kept.empty:
            known = ", ".join(sorted(map(str, table[column].unique()))) or "none"
            raise UserError(f"clusters.{key}.{column}: no rows of {value!r}; there are: {known}")
        table = kept
    return table


def _beside(ids: Mapping[str, str], rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with the same ids before each."""
    return pd.concat([pd.DataFrame([ids] * len(rows), columns=list(ids)), rows], axis="columns")
