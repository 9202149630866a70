"""Tests of determinism on rows of planted barriers, against independent implementations."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import normalized_mutual_info_score, roc_auc_score

from basins.landscape import determinism
from tests.landscape.analytic import terrain, values

CHOSEN = {
    "path": "linear", "alignment": "none", "batchnorm": "interpolate", "eval_set": "test",
    "metric": "loss",
}  # fmt: skip


def bowl(w):
    return 1 + (w**2).sum()


def barriers(models, value):
    """Rows of all pairs of models, with rows of other sets and paths beside them."""
    own = pd.DataFrame(
        {"model_a": a, "model_b": b, "barrier_linear": value(a, b)}
        for a, b in combinations(models, 2)
    ).assign(**CHOSEN, barrier_mean=-7.0, convexity_gap=-7.0)
    others = [own.assign(barrier_linear=99.0, **{column: "other"}) for column in CHOSEN]
    return pd.concat([own, *others])


def measured(models, value, streams=None, clusters=None, **options):
    tables = {"barriers": barriers(models, value)}
    if streams is not None:
        tables["streams"] = pd.DataFrame(
            {"model": m, "head": h, "order": o, "dropout": 0} for m, (h, o) in streams.items()
        )
    if clusters is not None:
        tables["clusters"] = pd.DataFrame(
            {"model": m, "cluster": c, "measure": "convexity_gap"} for m, c in clusters.items()
        )
    ground = terrain(bowl, [[0.0]], tables=tables)
    return determinism.measure(ground, resamples=200, **options)


def fork(step, number):
    return f"net/fork{step}/seed{number}"


def test_runs_that_fork_are_compared_with_those_of_their_parent_and_step():
    planted = {0: 0.5, 10: 0.6, 50: 0.1}
    models = {fork(k, n): (n // 3, n) for k in planted for n in range(12)}

    def value(a, b):
        step, number = (int(part) for part in a.removeprefix("net/fork").split("/seed"))
        return planted[step] + 0.01 * (number // 3)

    rows = measured(list(models), value, streams=models, test="B1")
    pairs = [row for row in rows if row["quantity"] == "instability"]
    assert len(pairs) == 3 * 4 * 3  # steps, parents, pairs of children
    assert {row["group"] for row in pairs} == {f"parent {k}" for k in range(4)}
    for row in pairs:
        a, b = row["models"].split(" + ")
        assert models[a][0] == models[b][0] and row["x"] in planted
        assert row["value"] == pytest.approx(value(a, b))


def test_information_is_that_of_scikit_learn():
    drawn = np.random.default_rng(0)
    for _ in range(10):
        a, b = drawn.integers(3, size=(2, 20))
        expected = normalized_mutual_info_score(a, b)
        assert determinism.normalised_information(a, b) == pytest.approx(expected)
    assert determinism.normalised_information(np.zeros(5), np.arange(5)) == 0


def test_a_factorial_that_the_head_decides():
    streams = {f"net/seed{4 * h + o}": (h, o) for h in range(4) for o in range(4)}
    side = {model: int(h > 1) for model, (h, _) in streams.items()}

    def value(a, b):
        return float(side[a] != side[b])

    rows = measured(list(streams), value, streams=streams, clusters=side, test="B2")
    means = {
        group: np.mean(values(rows, "barrier", group=group))
        for group in ("same head", "same order", "both differ")
    }
    assert means == pytest.approx({"same head": 0, "same order": 2 / 3, "both differ": 2 / 3})
    assert len(values(rows, "barrier")) == 16 * 15 / 2
    head, order = (values(rows, f"nmi, {f}", null=0) for f in ("head", "order"))
    assert len(head) == 17 and head[0] == pytest.approx(2 / 3)
    assert order[0] == pytest.approx(0, abs=1e-9)
    assert values(rows, "nmi p, head")[0] < 0.01 < 0.9 < values(rows, "nmi p, order")[0]
    assert values(rows, "nmi, head", null=1)[0] < head[0]


def test_models_outside_the_factorial_do_not_count():
    """Neither pairs of them, nor pairs with them, nor their clusters."""
    crossed = {f"cross/seed{3 * h + o}": (h, o) for h in range(3) for o in range(3)}
    alone = {f"net/seed{k}": (k, k) for k in range(6)}
    streams = crossed | alone
    side = {model: int(h > 1) for model, (h, _) in streams.items()}

    def value(a, b):
        return 1.0 if {a, b} <= set(crossed) else 99.0

    rows = measured(list(streams), value, streams=streams, clusters=side, test="B2")
    assert values(rows, "barrier") == [1.0] * (9 * 8 // 2)
    of_all = [row for row in rows if row["quantity"] == "level, head"]
    assert {row["models"]: row["value"] for row in of_all} == {
        m: h for m, (h, _) in crossed.items()
    }
    for row in rows:
        assert "net/seed" not in row["models"]
    own = {model: side[model] for model in crossed}
    single = measured(list(crossed), value, streams=crossed, clusters=own, test="B2")
    for factor in ("head", "order"):
        found, expected = (values(r, f"nmi, {factor}", null=0) for r in (rows, single))
        assert found == expected


def test_seeds_that_cross_nothing_have_no_factors():
    streams = {f"net/seed{k}": (k, k) for k in range(6)}
    clusters = {model: k % 2 for k, model in enumerate(streams)}
    found = measured(list(streams), lambda a, b: 0.0, streams=streams, clusters=clusters)
    assert found == []


def test_the_area_is_that_of_scikit_learn():
    drawn = np.random.default_rng(0)
    scores, positive = drawn.integers(5, size=30).astype(float), drawn.random(30) < 0.4
    expected = roc_auc_score(positive, scores)
    assert determinism.auc(scores, positive) == pytest.approx(expected)
    assert np.isnan(determinism.auc(scores, positive | True))


def test_early_weights_tell_the_cluster_once_they_part():
    drawn = np.random.default_rng(0)
    ends, labels = drawn.normal(size=(10, 20)), [0] * 6 + [1] * 4
    ends[:, 0] += 9 * np.array(labels)
    noise = drawn.normal(size=(10, 20))
    ground = terrain(
        bowl, ends.tolist(), labels=labels, other=lambda w: 99 - w[0],
        starts=noise.tolist(), early={7: (0.5 * ends).tolist()},
    )  # fmt: skip
    rows = determinism.measure(ground, test="B3")
    everyone = " + ".join(ground.models)
    assert values(rows, "auc, weights", x=7, models=everyone) == [1]
    assert values(rows, "auc, odd", x=7, models=everyone) == [0]
    at_start = values(rows, "auc, weights", x=0, models=everyone)[0]
    assert 0.1 < at_start < 0.9
    assert len(values(rows, "auc, weights", x=0)) == 11
    single = ground._replace(tables={})
    assert determinism.measure(single, test="B3") == []


def test_weights_of_no_structure_are_no_better_than_guessing_for_clusters_of_unequal_size():
    drawn, labels, areas = np.random.default_rng(1), [0] * 9 + [1] * 3, []
    for _ in range(40):
        ends = drawn.normal(size=(12, 200)).tolist()
        ground = terrain(bowl, ends, labels=labels, starts=[[1.1] * 200] * 12, early={7: ends})
        rows = determinism.measure(ground, test="B3")
        everyone = " + ".join(ground.models)
        assert values(rows, "auc, weights", x=0, models=everyone) == [0.5]  # all start at one place
        areas += values(rows, "auc, weights", x=7, models=everyone)
    # By distances to the means of clusters the mean area is .14, and less in more dimensions.
    assert np.mean(areas) == pytest.approx(0.5, abs=0.1)


def test_perturbations_by_their_size():
    assert determinism.size_of("net/eps0/seed1") == 0
    assert determinism.size_of("net/eps1e_3/seed12") == 1e-3
    assert determinism.size_of("net/seed1") is None
    sizes = ["eps0", "eps1e_4", "eps1e_3", "eps1e_2", "eps1e_1"]
    models = [f"net/{size}/seed{n}" for size in sizes for n in range(3)]

    def value(a, b):
        size = max(determinism.size_of(m) for m in (a, b))
        return 0.5 if size > 3e-3 else 0.0

    rows = measured(models, value, test="B4", margin=0.1)
    assert len(values(rows, "barrier")) == 4 * 3  # beside the control of the same number
    shares = {row["x"]: row["value"] for row in rows if row["quantity"] == "share with a barrier"}
    assert shares == pytest.approx({1e-4: 0, 1e-3: 0, 1e-2: 1, 1e-1: 1})
    half = values(rows, "eps 50")
    assert half == pytest.approx([-2.5] * 4, abs=0.02) and len(half) == 4
    rerun = [f"net/seed{n}" for n in range(3)] + [f"net/eps0/seed{n}" for n in range(3)]
    again = measured(rerun, lambda a, b: 0.0, test="B4")
    assert values(again, "barrier", x=0) == [0, 0, 0]


def test_the_threshold_of_a_logistic_curve():
    x = np.repeat(np.linspace(-3, 3, 13), 40)
    p = 1 / (1 + np.exp(-2 * (x - 0.7)))
    hit = np.random.default_rng(0).random(len(x)) < p
    assert determinism.threshold(x, hit) == pytest.approx(0.7, abs=0.2)
    assert np.isnan(determinism.threshold(x, hit & False))


def test_places_on_a_line_between_heads_are_no_factorial():
    levels = {f"line/seed{3 * h + o}": (60 + h / 4, o) for h in range(5) for o in range(3)}
    rows = measured(list(levels), lambda a, b: 0.1, streams=levels, test="B2")
    assert {row["quantity"].partition(",")[0] for row in rows} == {"level"}
