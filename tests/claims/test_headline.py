"""The few numbers of metrics.json, and what a run says at its end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from basins import results
from basins.claims import headline

REPORTS = Path(__file__).parents[2] / "reports"


def claims(*verdicts: str) -> list[dict]:
    given = {"verdict_holm": "inconclusive", "paper": "SoK: a survey"}
    return [{**given, "verdict": verdict} for verdict in verdicts]


def tables(recipes: list[str], experiments: list[str]) -> dict[str, pd.DataFrame]:
    probes = [
        {"recipe": recipe, "slice": part, "metric": metric, "mean": mean}
        for recipe in recipes
        for part, mean in (("nc", 0.9), ("c", 0.5), ("ri", 0.1), ("x/y", 0.3))
        for metric in ("loss", "accuracy")
    ]
    barriers = [
        {"experiment": name, "path": path, "alignment": how, "batchnorm": norm, "eval_set": of}
        | {"metric": metric, "barrier_linear": value}
        for name in experiments
        for path, how, norm, of, metric, value in (
            ("linear", "none", "interpolate", "c", "loss", 9.0),
            ("linear", "none", "interpolate", "nc", "loss", 1.0),
            ("linear", "none", "interpolate", "nc", "loss", 2.0),
            ("linear", "none", "interpolate", "nc", "error", 9.0),
            ("linear", "none", "reset", "nc", "loss", 9.0),
            ("linear", "other", "interpolate", "nc", "loss", 9.0),
            ("bezier", "none", "interpolate", "nc", "loss", 9.0),
        )
    ]
    return {"summary/probes": pd.DataFrame(probes), "barriers": pd.DataFrame(barriers)}


def test_which_numbers_they_are():
    ledger = claims("supported", "supported", "contradicted")
    nothing = dict.fromkeys(headline.VERDICTS, 0)
    found = headline.metrics(ledger, tables(["cued", "tuned/small"], ["pairs"]))
    assert found == {
        "claims": {**nothing, "supported": 2, "contradicted": 1},
        "claims_holm": {**nothing, "inconclusive": 3},
        "accuracy": {"cued on nc": 0.9, "cued on ri": 0.1},
        "barrier": {"pairs": 1.5},
    }
    assert headline.summary(ledger, found) == [
        "SoK: 2 supported, 1 contradicted",
        "accuracy of cued on nc: 0.900",
        "mean barrier of the loss in pairs: 1.500",
    ]


def test_there_are_never_more_than_the_limit():
    many = [f"r{k}" for k in range(10)], [f"e{k}" for k in range(30)]
    found = headline.metrics(claims("inconclusive"), tables(*many))
    assert sum(map(len, found.values())) == headline.LIMIT
    assert [*found["barrier"]] == many[1][: len(found["barrier"])]


def test_a_run_without_claims_or_straight_paths_has_what_it_has():
    empty = tables(["cued"], ["pairs"])
    empty["barriers"] = empty["barriers"].query("path == 'bezier'")
    found = headline.metrics([], empty)
    assert "barrier" not in found and len(headline.summary([], found)) == 1


@pytest.mark.parametrize("profile", ["laptop", "cifar", "mnli"])
def test_committed_profiles_have_a_few_headline_numbers(profile: str):
    ledger = json.loads((REPORTS / profile / "claims.json").read_text())
    found = headline.metrics(ledger, results.read_all(REPORTS / profile / "results"))
    assert 6 < sum(map(len, found.values())) <= headline.LIMIT
    assert len(headline.summary(ledger, found)) <= 5


@pytest.mark.parametrize("profile", ["laptop", "cifar", "mnli", "study"])
def test_what_is_written_does_not_depend_on_the_last_digits_of_a_processor(profile: str):
    for name in ("claims", "metrics"):
        content = json.loads((REPORTS / profile / f"{name}.json").read_text())
        assert results.rounded(content) == content
    nearby = {"a": [0.1 + 0.2, "0.30000000000000004", 3, True, None]}
    assert results.rounded(nearby) == {"a": [0.3, "0.30000000000000004", 3, True, None]}
    for half in (0.01744109 + 0.01744110) / 2, np.nextafter(-0.017441095, 0):
        assert abs(results.rounded(float(half))) == 0.0174411
