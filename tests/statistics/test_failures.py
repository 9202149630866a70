"""Models that failed to learn are left out of what is said of pairs, and named."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace

import pandas as pd
import pytest

from basins import results
from basins.claims import lcrgs
from basins.claims.ledger import entries
from basins.claims.registration import Registration
from basins.claims.results import Results
from basins.errors import UserError
from basins.statistics import failures

ACCURACY = [0.6, 0.44, 0.42, 0.58, 0.61]  # of which the third is not .1 over .33
MODELS = [f"own/seed{k}" for k in range(len(ACCURACY))]
CLUSTERS = {"own": SimpleNamespace(experiment="pairs", eval_set="test", learned=0.1)}


def probes():
    names = {"recipe": "own", "slice": "test"}
    own = [
        {**names, "seed": k, "metric": metric, "value": value}
        for k, accuracy in enumerate(ACCURACY)
        for metric, value in (("accuracy", accuracy), ("base_rate", 0.33), ("loss", 9.0))
    ]
    hard = [{**row, "slice": "hard", "value": 0.0} for row in own]
    return pd.DataFrame(own + hard)


def pairs():
    ids = {"path": "linear", "alignment": "none", "batchnorm": "interpolate"}
    ids |= {"eval_set": "test", "metric": "loss"}
    rows = [
        {"experiment": name, "model_a": a, "model_b": b, "barrier_linear": 0.0}
        | {"convexity_gap": 1.0 if MODELS[2] in (a, b) else 0.01}
        for name in ("pairs", "others")
        for a, b in combinations(MODELS, 2)
    ]
    return pd.DataFrame(rows).assign(**ids)


@pytest.fixture
def params(monkeypatch):
    tables = {"probes": probes(), "barriers": pairs(), "paths": pairs().assign(t=0.5)}
    monkeypatch.setattr(results, "read_all", lambda _: tables)
    return SimpleNamespace(profile="p", clusters=CLUSTERS, connect={})


def test_a_model_fails_that_is_hardly_better_than_the_commonest_class():
    assert failures.failed(probes(), MODELS, 0.1) == [MODELS[2]]
    assert failures.failed(probes(), MODELS, 0.3) == MODELS
    assert failures.failed(probes(), MODELS[3:], 0.1) == []


def test_its_pairs_are_left_out_of_that_experiment_alone(params):
    tables = failures.read_all(params)
    for name in ("barriers", "paths"):
        left = tables[name].groupby("experiment").size()
        assert dict(left) == {"others": 10, "pairs": 6}
    assert tables["left_out"].to_numpy().tolist() == [["pairs", MODELS[2]]]
    assert len(tables["probes"]) == len(probes())


def test_the_ledger_names_it_and_decides_without_it(params):
    found = Results(failures.read_all(params), 0.95, {"pairs": "test", "others": "test"})
    settings = {
        key: {"name": "c1_gap", "experiment": key, "eval_set": "test", "threshold": 0.02}
        for key in ("pairs", "others")
    }
    own, others = entries(lcrgs.paper, found, settings, Registration())
    assert own["statistic"].endswith("; without own/seed2, which learned nothing")
    assert "without" not in others["statistic"]
    assert own["estimate"] == pytest.approx(0.01) and others["estimate"] > 0.3


def test_where_accuracies_are_not_known_one_line_says_so(params):
    cut = probes().query("metric != 'base_rate' or seed != 1")
    tables = {**results.read_all(None), "probes": cut}
    with pytest.raises(UserError, match="clusters.own.learned: no accuracy .* of own/seed1$"):
        failures.left_out(params, tables)


def test_the_clusters_stage_gets_the_pairs_of_the_others():
    own = pairs().query("experiment == 'pairs'")
    every = failures.kept("pairs", iter([own, own]), probes(), None)
    assert [len(table) for table in every] == [10, 10]
    left = failures.kept("pairs", iter([own, own]), probes(), 0.1)
    assert [len(table) for table in left] == [6, 6]
    assert MODELS[2] not in failures.models(left[0])
