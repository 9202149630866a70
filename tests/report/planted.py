"""Small tables of paths, barriers and samples with known values."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pandas as pd

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
GRID = (0.0, 0.5, 1.0)
MODELS = ("plain/seed0", "plain/seed1", "plain/seed10", "odd/seed2")
TEXTS = [
    {
        "dataset": "texts", "eval_set": eval_set, "example": example, "label": label,
        "class": ("no", "yes")[label], "text": text,
    }
    for eval_set in ("c", "never measured")
    for example, label, text in ((2, 0, "One\nTwo"), (5, 0, "Three\nFour"), (0, 1, "Five"))
]  # fmt: skip
HEIGHT = {model: height for height, model in enumerate(MODELS)}


def tables(name: str = "toys") -> dict[str, pd.DataFrame]:
    """Return two experiments: one of all pairs of `MODELS` on two sets, one of a single pair.

    A pair's barrier is the sum of its models' `HEIGHT`, on the set `c` ten times that. Along every
    curve of the first, the disc of `shapes` stays right, and the square is wrong but at the end;
    along that of the second, on `c`, the second of `texts` is wrong halfway.
    """
    pairs = [(name, a, b) for a, b in combinations(MODELS, 2)] + [("alone", *MODELS[:2])]
    keys = [
        {
            "experiment": experiment, "model_a": a, "model_b": b, "path": path,
            "alignment": "none", "batchnorm": "reset", "eval_set": eval_set,
        }
        for experiment, a, b in pairs
        for path in ("linear", "bezier")
        for eval_set in ("c", "nc")
    ]  # fmt: skip
    points = [
        {
            **key, "t": t, "n": 50, "loss": 1 + _barrier(key) * (t == 0.5), "loss_se": 0.1,
            "accuracy": 0.5,
        }
        for key in keys for t in GRID
    ]  # fmt: skip
    measures = ("linear", "mean", "mid", "endpoint")
    barriers = [
        {
            **key, "metric": metric, **{f"barrier_{m}": _barrier(key) for m in measures},
            "convexity_gap": 0.25, "ci_low": 0.5, "ci_high": 0.75, "distance": 12.345678,
        }
        for key in keys for metric in ("loss", "error")
    ]  # fmt: skip
    clusters = [
        {"experiment": name, "measure": "convexity_gap", "model": model, "cluster": k % 2}
        for k, model in enumerate(MODELS)
    ]
    return {
        "paths": pd.DataFrame(points),
        "barriers": pd.DataFrame(barriers),
        "clusters": pd.DataFrame(clusters),
        "samples": pd.DataFrame(_images() + TEXTS),
        "outcomes": pd.DataFrame(
            {**key, "outcomes": "+- +- ++" if key["experiment"] == name else "+++ +-+ +++"}
            for key in keys
            if key["experiment"] == name or key["eval_set"] == "c"
        ),
    }


def _images() -> list[dict[str, Any]]:
    return [
        {
            "dataset": "shapes", "eval_set": eval_set, "example": 9 - k, "label": k,
            "class": shape, "png": PIXEL,
        }
        for eval_set in ("nc", "c")
        for k, shape in enumerate(("disc", "square"))
    ]  # fmt: skip


def _barrier(key: dict[str, str]) -> float:
    height = HEIGHT[key["model_a"]] + HEIGHT[key["model_b"]]
    return height * (10 if key["eval_set"] == "c" else 1) * (0 if key["path"] == "bezier" else 1)
