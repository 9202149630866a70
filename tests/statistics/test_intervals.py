"""Intervals against textbook values, brute force and simulated coverage."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from basins.data.images import Evaluation
from basins.landscape.barriers import barrier_linear
from basins.statistics.examples import basic_interval, mean_interval, resampling_weights
from basins.statistics.paths import barrier_rows, mean_losses, on_common_points, path_rows
from basins.statistics.seeds import contrast, jackknife, summarise_models, summarise_pairs
from basins.statistics.verdict import verdict

RNG = np.random.default_rng(0)


def test_wilson_interval_of_a_share():
    hits = np.array([True] * 8 + [False] * 2)
    mean, low, high = mean_interval(hits, 0.95)
    assert mean == 0.8
    # Wilson (1927) by its formula, z = 1.96
    z, n, p = stats.norm.ppf(0.975), 10, 0.8
    centre, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    assert (low, high) == pytest.approx(((centre - half) / scale, (centre + half) / scale))
    assert mean_interval(np.ones(5, dtype=bool), 0.95)[2] == pytest.approx(1)


@pytest.mark.parametrize(("hits", "count"), [(0, 4), (4, 4), (1, 30), (17, 1000)])
def test_wilson_interval_is_scipys(hits, count):
    expected = stats.binomtest(hits, count).proportion_ci(0.9, method="wilson")
    found = mean_interval(np.arange(count) < hits, 0.9)
    assert found == pytest.approx((hits / count, expected.low, expected.high), abs=1e-12)


def test_t_interval_of_a_mean():
    values = RNG.normal(size=20).astype(np.float32)
    expected = stats.t.interval(0.9, 19, values.mean(), stats.sem(values.astype(np.float64)))
    assert mean_interval(values, 0.9)[1:] == pytest.approx(expected, rel=1e-5)


def test_resampling_weights_are_bootstrap_counts():
    weights = resampling_weights(50, 2000, np.random.default_rng(1))
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    counts = weights * 50
    np.testing.assert_allclose(counts, counts.round(), atol=1e-4)
    assert counts.var() == pytest.approx(1 - 1 / 50, rel=0.05)


def test_basic_interval_reflects_the_resamples():
    low, high = basic_interval(1.0, np.linspace(1.0, 2.0, 1001), 0.9)
    assert (low, high) == pytest.approx((0.05, 0.95))


def test_jackknife_of_one_model_a_value_is_the_t_interval():
    values = RNG.normal(size=7)
    found = jackknife(values, [np.arange(7)], 0.95)
    expected = stats.t.interval(0.95, 6, values.mean(), stats.sem(values))
    assert (found["ci_low"], found["ci_high"]) == pytest.approx(expected)
    assert found["seeds"] == 7


def test_one_seed_has_no_interval():
    found = jackknife(np.array([1.0, 2.0]), [np.array([0, 0])], 0.95)
    assert found["mean"] == 1.5
    assert np.isnan(found["ci_low"])


def pair_effects(rng: np.random.Generator, count: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Values of all pairs that are the mean of their two seeds' own effects: true mean 0."""
    effects = rng.normal(size=count)
    a, b = np.triu_indices(count, 1)
    return (effects[a] + effects[b]) / 2, [a, b]


def test_seeds_not_pairs_are_the_unit():
    """Over pairs that share seeds the interval covers as it says; one over pairs would not."""
    rng = np.random.default_rng(2)
    covered = naive = 0
    runs = 600
    for _ in range(runs):
        values, seeds = pair_effects(rng, 8)
        found = jackknife(values, seeds, 0.95)
        covered += found["ci_low"] <= 0 <= found["ci_high"]
        low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
        naive += low <= 0 <= high
    assert 0.92 <= covered / runs <= 0.98
    assert naive / runs < 0.8


def test_contrast_by_hand():
    """Leaving out a seed takes its pairs out of both groups."""
    values = np.array([5.0, 6.0, 10.0, 1.0, 2.0, 3.0])
    first = np.array([True] * 3 + [False] * 3)
    seeds = [np.array([0, 0, 1, 0, 0, 1]), np.array([1, 2, 2, 1, 2, 2])]
    found = contrast(values, first, seeds, 0.95)
    without = np.array([10 - 3, 6 - 2, 5 - 1])
    half = stats.t.ppf(0.975, 2) * np.sqrt(2 / 3 * np.sum((without - 5) ** 2))
    assert found == pytest.approx({"mean": 5, "ci_low": 5 - half, "ci_high": 5 + half, "seeds": 3})
    swapped = contrast(values, ~first, seeds, 0.95)
    assert [swapped["ci_low"], swapped["ci_high"]] == [-found["ci_high"], -found["ci_low"]]


def test_contrast_covers_when_groups_share_seeds():
    """What a seed does to both groups cancels, and the rest is covered as the interval says."""
    rng = np.random.default_rng(4)
    covered = narrower = 0
    runs = 600
    for _ in range(runs):
        common, seeds = pair_effects(rng, 8)
        first, _ = pair_effects(rng, 8)
        values = np.concatenate([5 * common + first, 5 * common])
        groups = np.arange(len(values)) < len(first)
        both = [np.tile(side, 2) for side in seeds]
        found = contrast(values, groups, both, 0.95)
        covered += found["ci_low"] <= 0 <= found["ci_high"]
        alone = jackknife(values[groups], seeds, 0.95)
        narrower += found["ci_high"] - found["ci_low"] < alone["ci_high"] - alone["ci_low"]
    assert 0.92 <= covered / runs <= 0.98
    assert narrower / runs > 0.95


@pytest.mark.filterwarnings("error")
def test_nothing_has_no_mean():
    found = jackknife(np.array([]), [np.array([], int)], 0.95)
    assert np.isnan([found["mean"], found["ci_low"]]).all()
    assert found["seeds"] == 0


def test_summaries_group_by_recipe_and_initialisation():
    rows = pd.DataFrame(
        {
            "experiment": "raw",
            "model_a": ["nocue/seed0", "nocue/seed0", "nocue/seed1", "nocue/seed0"],
            "model_b": ["cued/seed0", "cued/seed1", "cued/seed0", "nocue/seed1"],
            "t": 0.5,
            "loss": [1.0, 2.0, 4.0, 8.0],
        }
    )
    found = summarise_pairs(rows, ["experiment", "t"], ["loss"], "metric", 0.95)
    means = found.set_index(["recipe_a", "recipe_b", "init"])["mean"].to_dict()
    assert means == {
        ("nocue", "cued", "shared"): 1.0,
        ("nocue", "cued", "separate"): 3.0,
        ("nocue", "nocue", "separate"): 8.0,
    }
    assert found["pairs"].tolist() == [1, 2, 1]


def test_models_of_a_group_are_told_apart():
    rows = pd.DataFrame({"experiment": "tuned", "model_a": "cued/seed0", "loss": [1.0, 2.0]})
    rows["model_b"] = ["tuned/small/seed0", "tuned/large/seed0"]
    found = summarise_pairs(rows, ["experiment"], ["loss"], "metric", 0.95)
    assert found["recipe_b"].tolist() == ["tuned/small", "tuned/large"]
    assert found["init"].tolist() == ["shared", "shared"]


def test_models_are_averaged_over_seeds():
    rows = pd.DataFrame({"recipe": ["a", "a", "b"], "seed": [0, 1, 0], "value": [1.0, 3.0, 5.0]})
    found = summarise_models(rows, ["recipe"], 0.95)
    assert found[["recipe", "mean", "seeds"]].to_numpy().tolist() == [["a", 2.0, 2], ["b", 5.0, 1]]


def evaluations(losses: np.ndarray) -> list[Evaluation]:
    return [Evaluation(row.astype(np.float32), row < 0.5) for row in losses]


def test_path_rows_are_means_over_examples():
    losses = RNG.random((3, 40))
    rows = list(path_rows((0, 0.5, 1), {("reset", "nc"): evaluations(losses)}))
    np.testing.assert_allclose([row["loss"] for row in rows], losses.mean(1), rtol=1e-6)
    np.testing.assert_allclose([row["accuracy"] for row in rows], (losses < 0.5).mean(1))
    np.testing.assert_allclose(
        [row["loss_se"] for row in rows], stats.sem(losses, axis=1), rtol=1e-5
    )
    assert [row["n"] for row in rows] == [40] * 3


def test_path_rows_of_two_classes_have_their_scores():
    true = np.array([True, True, True, False, False, False, False, False])
    told = np.array([True, True, False, True, False, False, False, False])
    curves = {("interpolate", "paws"): [Evaluation(np.zeros(8, np.float32), told == true)]}
    (row,) = path_rows((0,), curves, {"paws": true})
    assert row["f1"] == pytest.approx(2 * 2 / (3 + 3))
    assert row["mcc"] == pytest.approx(np.corrcoef(told, true)[0, 1])


def test_sets_of_different_sizes_are_each_resampled_by_weights_of_their_own():
    drawn = []

    def draw(count: int) -> np.ndarray:
        drawn.append(count)
        return resampling_weights(count, 50, np.random.default_rng(count))

    def rows(curves):
        return [row["ci_high"] for row in barrier_rows((0, 0.5, 1), curves, draw, 0.95)]

    small, large = (evaluations(RNG.random((3, n))) for n in (20, 30))
    both = rows({("reset", "a"): small, ("reset", "b"): large})
    assert both == rows({("reset", "a"): small}) + rows({("reset", "b"): large})
    assert drawn == [20, 30, 20, 30]


def test_barrier_rows_resample_examples_jointly():
    """A noise that all points share cancels: the barrier's interval is far below the losses'."""
    shared = RNG.normal(size=500) * 10
    losses = np.stack([shared, shared + 1 + 0.1 * RNG.normal(size=500), shared])
    weights = resampling_weights(500, 400, np.random.default_rng(3))
    curves = {("reset", "nc"): evaluations(losses)}
    found = barrier_rows((0, 0.5, 1), curves, lambda _: weights, 0.95)
    rows = {row["metric"]: row for row in found}
    assert rows["loss"]["barrier_linear"] == pytest.approx(
        losses[1].mean() - losses[0].mean(), 1e-3
    )
    assert 0 < rows["loss"]["ci_high"] - rows["loss"]["ci_low"] < 0.1
    error = (losses >= 0.5).mean(1)
    assert rows["error"]["barrier_linear"] == pytest.approx(barrier_linear([0, 0.5, 1], error))


@pytest.mark.parametrize(
    ("low", "high", "direction", "expected"),
    [
        (0.2, 0.4, "above", "reproduced"),
        (0.0, 0.05, "above", "not reproduced"),
        (0.0, 0.4, "above", "undecided"),
        (np.nan, np.nan, "above", "undecided"),
        (0.0, 0.05, "below", "reproduced"),
        (0.2, 0.4, "below", "not reproduced"),
        (0.0, 0.4, "below", "undecided"),
        (-0.05, 0.05, "within", "reproduced"),
        (0.2, 0.4, "within", "not reproduced"),
        (-0.4, -0.2, "within", "not reproduced"),
        (0.0, 0.4, "within", "undecided"),
        (-0.4, 0.4, "within", "undecided"),
        (np.nan, np.nan, "within", "undecided"),
    ],
)
def test_verdicts(low, high, direction, expected):
    assert verdict(low, high, 0.1, direction) == expected


def test_means_of_curves_are_those_of_their_rows():
    evaluations = [
        Evaluation(np.float32([1, 2, 6]), np.array([True, False, i])) for i in (False, True)
    ]
    means = mean_losses({("reset", "nc"): evaluations})
    np.testing.assert_allclose(means, [[3, 3], [2 / 3, 1 / 3]])


def test_only_points_that_all_pairs_have_are_averaged():
    rows = pd.DataFrame(
        [("x", "a", 0), ("x", "a", 0.5), ("x", "a", 1), ("x", "b", 0), ("x", "b", 1)]
        + [("y", "a", t) for t in (0, 0.25, 1)],
        columns=["experiment", "model_a", "t"],
    )
    kept = on_common_points(rows, ["experiment"])
    assert list(kept.index) == [0, 2, 3, 4, 5, 6, 7]
