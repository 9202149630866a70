"""Clusters are shown by the gaps that they come from, and intervals know what they cannot leave."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from basins.claims.results import SHARE, Results, cluster_test, clustered, learned, varied
from basins.errors import UserError
from basins.statistics.structure import Several
from tests.claims import planted

IDS = {"experiment": "nli", "eval_set": "test", "metric": "loss"}
IDS |= {"path": "linear", "alignment": "none", "batchnorm": "interpolate"}
LABELS = [0] * 8 + [1] * 4


def held(labels, ratio=5.0, known=None):
    """Results with gaps that part the models, or noise, and the clusters that rows have."""
    models = [f"nli/seed{k}" for k in range(len(labels))]
    gaps = planted.parted(labels, models, ratio).assign(**IDS)
    other = gaps.assign(eval_set="hard", convexity_gap=1.0)
    rows = pd.DataFrame({"model": models, "cluster": known or labels})
    rows = rows.assign(experiment="nli", measure="convexity_gap")
    tables = {"barriers": pd.concat([other, gaps]), "clusters": rows}
    return Results(tables, 0.95, {"nli": "test"})


def test_without_clusters_the_first_set_of_an_experiment_is_in_distribution():
    of = {"hard": SimpleNamespace(eval_sets=["test", "ood"]), "nc": SimpleNamespace(eval_sets=None)}
    clusters = {"one": SimpleNamespace(experiment="nli", eval_set="dev")}
    statistics = SimpleNamespace(confidence=0.95)
    params = SimpleNamespace(connect=of, clusters=clusters, statistics=statistics)
    assert Results.of(params, {}).in_domain == {"hard": "test", "nli": "dev"}


def test_clusters_of_gaps_in_domain_are_shown():
    results = held(LABELS)
    found = cluster_test(results, "nli")
    assert found["decides"] and found["mean"] < 0.001 and found["seeds"] == 12
    assert clustered(results, "nli") == ""


@pytest.mark.parametrize(
    ("count", "alike", "said"), [(15, 0.4, True), (16, 0.4, False), (15, 1.0, False)]
)
def test_a_test_of_few_models_says_how_often_a_continuum_passes(count, alike, said, monkeypatch):
    """Not where every gap between clusters exceeds those within, which a line has no part in."""
    found = Several(2, np.arange(count) % 2, 0.001, 3.0, 3.0, alike, True, "")
    monkeypatch.setattr(Results, "several", lambda *_: found)
    assert ("a continuum passes" in cluster_test(held(LABELS), "nli")["method"]) == said


@pytest.mark.parametrize(
    ("labels", "ratio", "why"),
    [
        (LABELS, 1.0, "gaps permuted over the pairs"),
        (LABELS[2:], 5.0, "with fewer than 12 models"),
    ],
)
def test_clusters_that_are_not_shown_are_no_ground_for_a_claim(labels, ratio, why):
    results = held(labels, ratio)
    found = cluster_test(results, "nli")
    assert not found["decides"] and found["note"].startswith(why)
    assert clustered(results, "nli").startswith(f"no clusters are shown in nli: {why}")


def test_clusters_must_be_those_that_rows_have():
    moved = [1, *LABELS[1:]]
    assert clustered(held(LABELS, known=moved), "nli") == (
        "the 2 clusters shown in nli are not the two of the paper's method"
    )
    swapped = [1 - label for label in LABELS]
    assert clustered(held(LABELS, known=swapped), "nli") == ""


@pytest.mark.parametrize(("accuracy", "base"), [(0.58, 0.35), (0.75, 0.71), (0.75, None)])
def test_models_that_only_guess_have_learned_nothing(accuracy, base):
    values = {"accuracy": accuracy, "base_rate": base, "loss": 9.0}
    rows = [
        {"recipe": recipe, "seed": seed, "slice": slice_, "metric": metric, "value": value}
        for recipe, seed in [*(("nli", k) for k in range(12)), ("other", 0)]
        for slice_ in ("test", "hard")
        for metric, value in values.items()
        if value is not None
    ]
    probes = pd.DataFrame(rows)
    probes["value"] = probes["value"].where(probes["recipe"] == "nli", 0.0)
    tables = {**held(LABELS).tables, "probes": probes}
    said = learned(Results(tables, 0.95), {"experiment": "nli"})
    assert bool(said) == (base == 0.71)
    assert not said or said.startswith("the task was not learned: the accuracy on test is 0.750")


@pytest.mark.parametrize(("apart", "said"), [(0.01, "no variance of strategy"), (0.1, "")])
def test_models_that_differ_by_noise_alone_have_no_strategies(apart, said):
    """Twelve values whose deviation is about .6 or 6 times that of their samples, .02."""
    ids = {"recipe": "nli", "slice": "hard", "metric": "accuracy"}
    values = 0.5 + apart * np.linspace(-2, 2, 12)
    rows = [
        {**ids, "seed": k, "value": v, "ci_low": v - 0.0392, "ci_high": v + 0.0392}
        for k, v in enumerate(values)
    ]
    results = Results({**held(LABELS).tables, "probes": pd.DataFrame(rows)}, 0.95)
    found = varied(results, {"experiment": "nli", "slice": "hard"})
    assert found.startswith(said) and bool(found) == bool(said)


def test_an_experiment_without_clusters_is_named():
    with pytest.raises(
        UserError, match="'qqp' has no evaluation set in distribution; with one: nli"
    ):
        held(LABELS).gaps("qqp")


def test_a_share_stays_one_and_few_seeds_decide_nothing():
    results = Results({}, 0.95)
    values = pd.Series([0.9, 0.99, 0.95, 0.97, 0.99, 0.98, 0.999])
    found = results.over_seeds(values, SHARE)
    assert found["ci_high"] < 1 and found["scale"] == "logit" and found["decides"]
    assert not results.over_seeds(values[:5], SHARE)["decides"]
    rows = pd.DataFrame({"seed": np.arange(7), "value": values})
    assert results.leave_out(lambda kept: values[kept].mean(), rows)["decides"]
    rough = results.leave_out(lambda kept: values[kept].max(), rows, rough="a maximum jumps")
    assert not rough["decides"] and rough["note"].startswith("a maximum jumps: no interval")


def test_shares_that_happen_to_be_0_or_1_are_no_counts_of_seeds():
    results = Results({}, 0.95)
    single = results.over_seeds(pd.Series([1.0, 1, 1, 0, 1, 1, 1, 1]), SHARE)
    assert "jackknife" in single["method"] and single["scale"] == "logit"
    around = [f"net/seed{k} + net/seed{(k + 1) % 8}" for k in range(8)]  # as many pairs as models
    pairs = results.mean(pd.DataFrame({"models": around, "value": [1.0] * 7 + [0]}), bounds=SHARE)
    assert "jackknife" in pairs["method"]
