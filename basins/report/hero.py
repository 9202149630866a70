"""The slider of the first page: accuracy along a straight and a curved path, with examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from basins.report import profile, words
from basins.report.explorer import CURVE, OPTIONAL

SETS = ("nc", "ri")
"""The sets that show accuracy on the task, and reliance on the cue."""

SHOWN = 5
"""Number of examples of each set, one per class."""


def pack(tables: Mapping[str, pd.DataFrame], datasets: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the accuracies (%) of all pairs of models that are joined by both kinds of path.

    Args:
        tables: rows; `paths` is read, and `samples` and `outcomes` if they exist.
        datasets: the dataset of each experiment.

    Returns None if no models are joined by both a fitted curve and a straight path on `SETS`.
    BatchNorm statistics are recomputed at each point on data without the cue, and units are not
    matched.
    """
    rows = tables["paths"]
    rows = rows.loc[(rows["batchnorm"] == "reset") & (rows["alignment"] == "none")]
    rows = rows.loc[rows["eval_set"].isin(SETS)]
    fitted = rows.loc[rows["path"].str.startswith("bezier")]
    if fitted.empty:
        return None
    name = min(fitted["path"].unique(), key=lambda path: (path != "bezier_nocue", path))
    curve = fitted.loc[fitted["path"] == name]
    straight = rows.loc[rows["path"] == "linear"]
    on = ["model_a", "model_b"]
    pairs = curve[on].drop_duplicates().merge(straight[on].drop_duplicates(), on=on)
    if pairs.empty:
        return None
    models = [tuple(pair) for pair in pairs.itertuples(index=False)]
    lines = {"straight": _line(straight, models), "curve": _line(curve, models)}
    first, dataset = models[0], datasets.get(str(curve["experiment"].iloc[0]), "")
    return {
        "dataset": dataset,
        "pairs": [f"{a} → {b}" for a, b in models],
        "lines": lines,
        "examples": _examples(tables, dataset, {"straight": straight, "curve": curve}, first),
        "cue": _cue(tables, dataset),
    }


def _line(rows: pd.DataFrame, models: list[tuple[Any, ...]]) -> dict[str, Any]:
    """Return the points of the first experiment's paths, and the accuracy of every pair there."""
    known = {}
    names = ["model_a", "model_b", "eval_set"]
    for _, own in rows.groupby(names, sort=False):
        a, b, eval_set = own[names].iloc[0]
        one = own.loc[own["experiment"] == own["experiment"].iloc[0]].sort_values("t")
        known[a, b, eval_set] = one
    ts = known[(*models[0], SETS[0])]["t"].tolist()
    return {"t": ts} | {
        eval_set: [
            (100 * known[(*pair, eval_set)]["accuracy"]).round(2).tolist() for pair in models
        ]
        for eval_set in SETS
    }


def _examples(
    tables: Mapping[str, pd.DataFrame],
    dataset: str,
    lines: Mapping[str, pd.DataFrame],
    pair: tuple[Any, ...],
) -> dict[str, list[dict[str, Any]]]:
    """Return images of both sets, and whether each is classified correctly at each point."""
    samples = tables["samples"].query("dataset == @dataset").sort_values(["label", "example"])
    outcomes = tables.get("outcomes", pd.DataFrame(columns=OPTIONAL["outcomes"])).set_index(CURVE)
    found = {}
    for eval_set in SETS:
        own = samples.loc[samples["eval_set"] == eval_set]
        right = {}
        for kind, rows in lines.items():
            at = rows.loc[(rows["model_a"] == pair[0]) & (rows["model_b"] == pair[1])]
            key = tuple(at.loc[at["eval_set"] == eval_set, CURVE].iloc[0])
            right[kind] = outcomes.loc[key, "outcomes"].split(" ") if key in outcomes.index else []
        shown = [
            {
                "class": row["class"],
                "png": row["png"],
                **{kind: "".join(point[k] for point in points) for kind, points in right.items()},
            }
            for k, row in enumerate(own.to_dict("records"))
        ]
        flips = sorted(shown, key=lambda one: len(set(one["curve"])) < 2)
        found[eval_set] = flips[:SHOWN]
    return found


def _cue(tables: Mapping[str, pd.DataFrame], dataset: str) -> list[dict[str, str]]:
    """Return one image without and with its cue."""
    samples = tables["samples"].query("dataset == @dataset").sort_values(["label", "example"])
    both = [samples.loc[samples["eval_set"] == name].head(1) for name in ("nc", "c")]
    return [one[["class", "png"]].to_dict("records")[0] for one in both if len(one)]


def first(profiles: Iterable[profile.Profile]) -> tuple[dict[str, Any] | None, str]:
    """Return the data of the slider, from the first profile with outcomes, and a description.

    If no profile has outcomes, the first that has both kinds of path is used.
    """
    candidates = []
    for one in profiles:
        if packed := pack(one.rows, profile.datasets(one.params)):
            live = any(e["curve"] for examples in packed["examples"].values() for e in examples)
            about = profile.about(one.params, packed["dataset"])
            candidates.append(
                (live, packed, f"Profile {words.spaced(one.params.profile)}: {about}")
            )
    _, packed, about = max(candidates, key=lambda one: one[0], default=(False, None, ""))
    return packed, about
