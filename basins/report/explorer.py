"""All paths and barriers of a profile, packed for the explorer of the page (`explorer.js`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from math import isfinite
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from basins.figures import rows, style

CURVE = ["experiment", "model_a", "model_b", "path", "alignment", "batchnorm", "eval_set"]
"""The columns that identify a curve in `paths` and `barriers`."""

MEASURES = {
    **style.DEFINITIONS,
    "barrier_split": "barrier above the chord, debiased",
    "distance": "distance between the models",
}
"""The measures of the matrix, if `barriers` has them, and their names."""

LIMIT = 100_000
"""Points on a page; with more, only the first models of every experiment are included."""

OPTIONAL = {
    "clusters": ["experiment", "measure", "model", "cluster"],
    "samples": ["dataset", "eval_set", "example", "label", "class", "png", "text"],
    "outcomes": [*CURVE, "outcomes"],
}
"""Tables that may be missing, and their columns."""


def pack(
    tables: Mapping[str, pd.DataFrame],
    *,
    confidence: float,
    datasets: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the curves, barriers and clusters as columns, each name once.

    Args:
        tables: rows, by the name of their table: `paths` and `barriers`, and if they exist
            `clusters`, `samples` and `outcomes` (of samples along the curves).
        confidence: of the intervals that are drawn.
        datasets: the dataset of each experiment whose samples are to be shown.

    With more points than `LIMIT`, only those between the first `shown` models of every experiment
    are packed; otherwise `shown` is None. Names in `columns` are indices into `names`. Curve k has
    the points of `grids[grid[k]]`, whose values are consecutive in `loss`, `loss_se` and
    `accuracy`. Numbers have four digits.
    """
    (paths, most), shown = _first(tables["paths"], LIMIT), datasets or {}
    clusters, samples, outcomes = (
        tables.get(name, pd.DataFrame(columns=columns)).reindex(columns=columns)
        for name, columns in OPTIONAL.items()
    )
    order = paths.groupby(CURVE, sort=False).ngroup().rename("curve")
    paths = paths.assign(curve=order).sort_values(["curve", "t"], kind="stable")
    curves = paths.drop_duplicates("curve")
    grids = [tuple(ts) for _, ts in paths.groupby("curve")["t"]]
    known = list(dict.fromkeys(grids))
    names = {column: list(dict.fromkeys(curves[column])) for column in CURVE}
    names["model_a"] = names["model_b"] = list(dict.fromkeys(names["model_a"] + names["model_b"]))
    names["eval_set"] = style.ordered_sets(names["eval_set"])
    barriers = tables["barriers"].set_index([*CURVE, "metric"])
    measures = {name: title for name, title in MEASURES.items() if name in barriers}
    wanted = pd.MultiIndex.from_frame(curves.loc[:, CURVE])
    outcomes = outcomes.set_index(CURVE)["outcomes"].reindex(wanted)
    samples = samples.sort_values(["label", "example"])  # the order of outcomes
    samples = samples.astype({"png": object, "text": object}).fillna({"png": "", "text": ""})
    named = ("experiment", "path", "alignment", "batchnorm")
    return {
        "shown": most,
        "z": round(NormalDist().inv_cdf((1 + confidence) / 2), 4),
        "confidence": confidence,
        "measures": measures,
        "words": {name: style.display(name) for column in named for name in names[column]}
        | {m: f"{style.display(rows.recipe(m))}, seed {rows.seed(m)}" for m in names["model_a"]},
        "first": _opening(
            curves, pd.Series(outcomes), barriers.xs("loss", level="metric").reindex(wanted)
        ),
        "titles": {name: style.set_title(name) for name in names["eval_set"]},
        "names": names,
        "grids": [_numbers(grid) for grid in known],
        "columns": {column: _codes(curves[column], names[column]) for column in CURVE},
        "grid": _codes(grids, known),
        "n": curves["n"].astype(int).tolist(),
        **{column: _numbers(paths[column]) for column in ("loss", "loss_se", "accuracy")},
        "barriers": {
            metric: {
                column: _numbers(part[column].reindex(wanted))
                for column in (*measures, "ci_low", "ci_high")
            }
            for metric in ("loss", "error")
            for part in [barriers.xs(metric, level="metric")]
        },
        "clusters": {
            experiment: {
                measure: dict(zip(part["model"], map(int, part["cluster"]), strict=True))
                for measure, part in own.groupby("measure", sort=False)
            }
            for experiment, own in clusters.groupby("experiment", sort=False)
        },
        "outcomes": outcomes.fillna("").tolist(),
        "datasets": shown,
        "samples": {
            dataset: {
                eval_set: part[["class", "png", "text"]].to_numpy().tolist()
                for eval_set, part in own.groupby("eval_set", sort=False)
                if eval_set in names["eval_set"]
            }
            for dataset, own in samples.groupby("dataset", sort=False)
            if dataset in shown.values()
        },
    }


def _opening(curves: pd.DataFrame, outcomes: pd.Series, losses: pd.DataFrame) -> dict[str, str]:
    """Return the initial view of the explorer: the first curve fitted between two recipes.

    Without one, it is the pair with the highest barrier in distribution, if possible of two
    recipes, in the experiment with the most pairs. Paths from a network to itself are controls and
    are ignored. Curves with recomputed BatchNorm and with known outcomes of examples are preferred.
    The matrix is of the first set on which half of the pairs have a barrier. `outcomes` and
    `losses`, from `barriers`, are by curve.
    """
    known = curves.reset_index(drop=True)
    apart = losses["distance"].ne(0).to_numpy()
    known = known.assign(
        curved=known["path"].str.startswith("bezier"),
        crosses=known["model_a"].map(rows.recipe) != known["model_b"].map(rows.recipe),
        reset=known["batchnorm"] == "reset",
        seen=outcomes.notna().to_numpy(),
        inside=known["eval_set"].isin(("nc", "test")),
        barrier=losses["barrier_linear"].to_numpy(),
    ).loc[apart if apart.any() else ~apart]
    pairs = known.drop_duplicates(["experiment", "model_a", "model_b"])
    known["pairs"] = known["experiment"].map(pairs["experiment"].value_counts())
    fitted = known.loc[known["curved"] & known["crosses"]]
    keys = ["reset", "seen"]
    keys = keys if len(fitted) else ["pairs", "crosses", *keys, "inside", "barrier"]
    best = (fitted if len(fitted) else known).sort_values(keys, ascending=False, kind="stable")
    asked = {name: str(best.iloc[0][name]) for name in CURVE[:1] + CURVE[3:6]}
    own = known.loc[(known[[*asked]] == pd.Series(asked)).all(axis=1)]
    heights = own.groupby("eval_set")["barrier"].median()
    sets = style.ordered_sets(heights.index)
    asked["set"] = next((name for name in sets if heights[name] > 0), sets[0])
    asked |= {"pair": f"{best.iloc[0]['model_a']} → {best.iloc[0]['model_b']}", "t": "0.5"}
    same = (known[["model_a", "model_b"]] == best.iloc[0][["model_a", "model_b"]]).all(axis=1)
    same &= (known["path"] == "linear") & (known["alignment"] == asked["alignment"])
    straight = known.loc[same & (known["batchnorm"] == asked["batchnorm"])]
    if asked["path"] != "linear" and len(straight):
        asked["beside"] = "|".join(straight.iloc[0][CURVE[:1] + CURVE[3:6]])
    return asked


def embed(packed: Mapping[str, Any]) -> str:
    """Return `packed` as JSON that is safe inside a `<script>` of an HTML page."""
    written = json.dumps(packed, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return written.replace("<", "\\u003c")


def _first(paths: pd.DataFrame, limit: int) -> tuple[pd.DataFrame, int | None]:
    """Return at most `limit` rows, and the number of models per experiment if limited."""
    if len(paths) <= limit:
        return paths, None
    ends = paths[["model_a", "model_b"]].to_numpy().ravel()  # both models of a row are consecutive
    models = pd.DataFrame({"experiment": paths["experiment"].repeat(2), "model": ends})
    known = models.drop_duplicates()
    known = known.assign(number=known.groupby("experiment").cumcount())
    later = models.merge(known)["number"].to_numpy().reshape(-1, 2).max(axis=1)
    most = int(np.searchsorted(np.bincount(later).cumsum(), limit, side="right"))
    return paths.loc[later < most], most


def _codes(values: Iterable[Any], names: list[Any]) -> list[int]:
    index = {name: k for k, name in enumerate(names)}
    return [index[value] for value in values]


def _numbers(values: Iterable[float]) -> list[float | int | None]:
    """Return numbers with four digits, integers as such, and None for non-finite values."""
    return [_short(float(value)) if isfinite(value) else None for value in values]


def _short(value: float) -> float | int:
    rounded = float(f"{value:.4g}")
    return int(rounded) if rounded.is_integer() else rounded
