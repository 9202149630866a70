"""The claims can fail: planted rows for each verdict."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from basins.claims import mmc
from basins.errors import UserError

SETTINGS = {"c3_raw": {"experiment": "raw", "alignment": "none", "threshold": 0.05}}


def tables(mean: float, low: float, high: float, seeds: int = 3) -> dict[str, pd.DataFrame]:
    row = {
        "experiment": "raw",
        "path": "linear",
        "alignment": "none",
        "recipe_a": "nocue",
        "recipe_b": "cued",
        "init": "separate",
        "batchnorm": "reset",
        "eval_set": "nc",
        "metric": "error",
        "definition": "barrier_linear",
        "mean": mean,
        "ci_low": low,
        "ci_high": high,
        "seeds": seeds,
    }
    # Rows that must not be taken for it, each wrong in one key.
    others = [
        {**row, key: value, "mean": 9.0, "ci_low": 9.0, "ci_high": 9.0}
        for key, value in [
            ("experiment", "other"),
            ("path", "arc"),
            ("alignment", "star"),
            ("recipe_b", "nocue"),
            ("init", "shared"),
            ("batchnorm", "interpolate"),
            ("eval_set", "c"),
            ("metric", "loss"),
            ("definition", "convexity_gap"),
        ]
    ]
    return {"summary/barriers": pd.DataFrame([*others[:3], row, *others[3:]])}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.2, 0.5, "reproduced"),
        (0.0, 0.04, "not reproduced"),
        (0.01, 0.4, "undecided"),
        (np.nan, np.nan, "undecided"),
    ],
)
def test_the_interval_decides(low, high, expected):
    (claim,) = mmc.decide(tables(0.3, low, high), SETTINGS)
    assert claim["verdict"] == expected
    assert (claim["estimate"], claim["n"], claim["threshold"]) == (0.3, 3, 0.05)


def test_unknown_claims_and_experiments_that_do_not_fit_are_said():
    with pytest.raises(UserError, match="no claim 'c99'; there are: c3_raw"):
        list(mmc.decide(tables(0, 0, 0), {"c99": SETTINGS["c3_raw"]}))
    with pytest.raises(UserError, match="has 0 fitting rows"):
        list(mmc.decide(tables(0, 0, 0), {"c3_raw": SETTINGS["c3_raw"] | {"experiment": "none"}}))
