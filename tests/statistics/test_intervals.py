"""Intervals against textbook values, brute force and simulated coverage."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from basins.data.images import Evaluation
from basins.landscape.barriers import barrier_linear, excess
from basins.statistics.examples import (
    highest_interval,
    highest_split,
    mean_interval,
    resampling_weights,
)
from basins.statistics.paths import barrier_rows, mean_losses, on_common_points, path_rows
from basins.statistics.seeds import (
    SKEW,
    contrast,
    jackknife,
    summarise_models,
    summarise_pairs,
)
from basins.statistics.verdict import holm, p_value, unseen, verdict

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


@pytest.mark.parametrize("true", [0.1, 0.5, 0.93])
def test_wilson_covers_as_it_says(true):
    """For a share of 400, exactly: over a little of the truth, in which it is not smooth."""
    hits = np.arange(401)
    ends = np.array([mean_interval(np.arange(400) < k, 0.95)[1:] for k in hits])
    cover = [
        stats.binom.pmf(hits, 400, p)[(ends[:, 0] <= p) & (p <= ends[:, 1])].sum()
        for p in np.linspace(true - 0.01, true + 0.01, 41)
    ]
    assert np.mean(cover) == pytest.approx(0.95, abs=0.005)


TS = np.linspace(0, 1, 11)
PATHS = {
    "flat": 0 * TS,
    "dip": -0.4 * TS * (1 - TS),
    "low": 0.2 * TS * (1 - TS),
    "high": 2 * TS * (1 - TS),
    "plateau": 0.1 * np.minimum(1, 5 * np.minimum(TS, 1 - TS)),
}


def smooth(curve: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Losses [n, T] of examples, each with a smooth curve of its own about the given one."""
    level, slope, bend, wave = rng.normal(size=(4, count, 1))
    own = level + 0.5 * slope * TS + 2.4 * bend * TS * (1 - TS) + 0.3 * wave * np.sin(6.28 * TS)
    return curve + own + 0.02 * rng.normal(size=(count, len(TS)))


@pytest.mark.parametrize("name", PATHS)
def test_interval_of_a_barrier_covers_at_least_as_often_as_it_says(name):
    """And where the barrier stands out of the noise, not more than a little more often."""
    rng, curve = np.random.default_rng(5), PATHS[name]
    true, runs, inside = barrier_linear(TS, curve), 600, 0
    for _ in range(runs):
        low, high = highest_interval(excess(TS, smooth(curve, 300, rng)), 0.95)
        inside += max(low, 0) <= true <= max(high, 0)
    assert inside / runs >= 0.94
    if name == "high":
        assert inside / runs <= 0.98


def test_split_samples_take_off_the_bias_of_a_maximum():
    rng = np.random.default_rng(6)
    found = []
    for _ in range(400):
        over = excess(TS, smooth(PATHS["flat"], 300, rng))
        found.append((highest_split(over), over.mean(0).max()))
    split, plain = np.mean(found, axis=0)
    error = np.std(found, axis=0)[0] / 20
    assert abs(split) < 3 * error < plain
    high = excess(TS, smooth(PATHS["high"], 4000, rng))
    assert highest_split(high) == pytest.approx(high.mean(0).max(), abs=0.01)


def test_one_example_and_losses_that_are_not_finite_have_no_interval():
    assert np.isnan(highest_interval(np.zeros((1, 3)), 0.95)).all()
    assert np.isnan(highest_interval(np.array([[0, np.nan, 0], [0, 1, 0]]), 0.95)).all()
    assert highest_interval(np.tile([0.0, 0.5, 0.0], (9, 1)), 0.95) == (0.5, 0.5)


def test_jackknife_of_one_model_a_value_is_the_t_interval():
    """From six seeds on, it is wider on the side of the longer tail: here above."""
    few, many = np.array([-1.0, 0.1, 0.4, 2.0, -0.3]), np.array([-0.4, -0.2, 0, 0.1, 0.3, 0.5, 2.5])
    for values in (few, many, -many):
        found = jackknife(values, [np.arange(len(values))], 0.95)
        low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
        half, wider = high - values.mean(), 1 + SKEW / 7**0.5
        sides = (wider, 1) if values[-1] < -2 else (1, 1 if values is few else wider)
        expected = (values.mean() - sides[0] * half, values.mean() + sides[1] * half)
        assert (found["ci_low"], found["ci_high"]) == pytest.approx(expected)
        assert (found["seeds"], found["decides"]) == (len(values), values is not few)
        assert ("wider" in found["method"]) == (values is not few)


def test_what_is_near_the_end_of_its_range_may_have_a_long_tail_away_from_it():
    small = np.array([0.02, 0.2, 0.25, 0.3, 0.31, 0.33, 0.34, 0.35])  # skewed downwards
    for values, sides in ((small, ""), (-small, ""), (small - 1, " below"), (small + 9, " below")):
        found = jackknife(values, [np.arange(8)], 0.95)
        assert found["method"] == "jackknife t, wider" + sides


def test_shares_stay_in_their_range_and_shares_of_seeds_are_exact():
    for values in ([0.95, 0.99, 0.4], [0.02, 0.01, 0.01, 0.02, 0.01, 0.6]):
        found = jackknife(np.array(values), [np.arange(len(values))], 0.95, (0, 1))
        assert 0 < found["ci_low"] < np.mean(values) < found["ci_high"] < 1
    hits = np.repeat([1.0, 0.0], (3, 9))
    found = jackknife(hits, [np.arange(12)], 0.95, (0, 1), outcomes=True)
    expected = stats.binomtest(3, 12).proportion_ci(0.95)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((expected.low, expected.high))
    none = jackknife(0 * hits, [np.arange(12)], 0.95, (0, 1), outcomes=True)
    assert none["decides"] and none["ci_high"] == pytest.approx(unseen(12, 0.95))
    assert none["touched"] == 0  # the interval is about all seeds
    mirrored = contrast(
        np.r_[hits, 1 - hits], np.arange(24) < 12, [np.arange(24) % 12], 0.95, (-1, 1)
    )
    assert -1 < mirrored["ci_low"] < mirrored["mean"] == -0.5 < mirrored["ci_high"] < 1


@pytest.mark.parametrize("values", [[0.0, 0, 0], [1.0] * 12, [0.0, 1, 1, 0, 1, 1, 1, 1]])
def test_accuracies_that_happen_to_be_0_or_1_are_no_outcomes(values):
    """Three accuracies of 0 over 500 rows each are not three draws of a coin."""
    seeds = [np.arange(len(values))]
    found = jackknife(np.array(values), seeds, 0.95, (0, 1))
    assert found["method"].startswith("jackknife t")
    equal = len(set(values)) == 1
    assert (found["ci_low"] == found["ci_high"]) == equal == (not found["decides"])
    assert jackknife(np.array(values), seeds, 0.95, (0, 1), outcomes=True)["ci_low"] < 1
    rows = pd.DataFrame({"seed": seeds[0], "metric": "accuracy", "value": values})
    (told,) = summarise_models(rows, ["metric"], 0.95).to_dict("records")
    assert (told["ci_low"], told["ci_high"]) == (found["ci_low"], found["ci_high"])


def test_what_is_no_outcome_of_a_seed_is_refused_as_one():
    for values, seeds in (
        ([0.0, 0.5], [np.arange(2)]),
        ([0.0, 1.0], [np.zeros(2, int)]),
        ([0.0, 1.0], [np.arange(2), np.arange(2) + 1]),
    ):
        with pytest.raises(ValueError, match="outcomes are 0 or 1, one of each seed"):
            jackknife(np.array(values), seeds, 0.95, (0, 1), outcomes=True)


def test_seeds_that_are_all_equal_decide_nothing_and_say_what_they_promise():
    found = jackknife(np.zeros(12), [np.arange(12)], 0.95)
    assert found["ci_low"] == found["ci_high"] == 0 and not found["decides"]
    assert found["note"] == "all 12 seeds are equal: up to 26 % of others may differ".replace(
        " %", "%"
    )
    most = unseen(12, 0.95)
    assert (1 - most) ** 12 == pytest.approx(0.025) and found["unseen"] == most
    # Two equal halves: leaving out any seed changes nothing, but pairs differ.
    a, b = np.triu_indices(8, 1)
    halves = jackknife(((a < 4) != (b < 4)).astype(float), [a, b], 0.95)
    assert halves["ci_low"] == halves["ci_high"] and not halves["decides"]


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
    error = stats.t.ppf(0.975, 2) * np.sqrt(2 / 3 * np.sum((without - 5) ** 2))
    assert [found[key] for key in ("mean", "ci_low", "ci_high")] == pytest.approx(
        [5, 5 - error, 5 + error]
    )
    assert found["seeds"] == 3 and not found["decides"]
    swapped = contrast(values, ~first, seeds, 0.95)
    assert [swapped["ci_low"], swapped["ci_high"]] == [-found["ci_high"], -found["ci_low"]]


def test_the_smaller_group_limits_a_contrast():
    """Seeds that are added to the other group make the interval no narrower."""
    values = np.concatenate([RNG.exponential(size=6), np.zeros(24)])
    first, seeds = np.arange(30) < 6, [np.concatenate([np.arange(6), np.arange(24)])]
    found = contrast(values, first, seeds, 0.95)
    alone = jackknife(values[first], [np.arange(6)], 0.95)
    assert found["seeds"] == 6 and found["decides"]
    assert found["ci_low"] < alone["ci_low"] and found["ci_high"] > alone["ci_high"]
    few = (seeds[0] != 5) | ~first  # five in the first group, 24 in the other
    assert not contrast(values[few], first[few], [seeds[0][few]], 0.95)["decides"]


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


def test_barrier_rows_take_examples_jointly():
    """A noise that all points share cancels: the barrier's interval is far below the losses'."""
    shared = RNG.normal(size=500) * 10
    losses = np.stack([shared, shared + 1 + 0.1 * RNG.normal(size=500), shared])
    found = barrier_rows((0, 0.5, 1), {("reset", "nc"): evaluations(losses)}, 0.95)
    rows = {row["metric"]: row for row in found}
    plain = losses[1].mean() - losses[0].mean()
    assert rows["loss"]["barrier_linear"] == pytest.approx(plain, 1e-3)
    assert rows["loss"]["barrier_split"] == pytest.approx(plain, 1e-3)
    assert rows["loss"]["ci_low"] < plain < rows["loss"]["ci_high"]
    assert 0 < rows["loss"]["ci_high"] - rows["loss"]["ci_low"] < 0.1
    error = (losses >= 0.5).mean(1)
    assert rows["error"]["barrier_linear"] == pytest.approx(barrier_linear([0, 0.5, 1], error))


def test_a_path_below_its_chord_has_no_barrier():
    losses = np.stack([np.ones(60), 0.2 + 0.1 * RNG.random(60), np.ones(60)])
    (row, _) = barrier_rows((0, 0.5, 1), {("reset", "nc"): evaluations(losses)}, 0.95)
    assert (row["barrier_linear"], row["ci_low"], row["ci_high"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("low", "high", "direction", "expected"),
    [
        (0.2, 0.4, "above", "supported"),
        (0.0, 0.05, "above", "contradicted"),
        (0.0, 0.4, "above", "inconclusive"),
        (np.nan, np.nan, "above", "inconclusive"),
        (0.0, 0.05, "below", "supported"),
        (0.2, 0.4, "below", "contradicted"),
        (0.0, 0.4, "below", "inconclusive"),
        (-0.05, 0.05, "within", "supported"),
        (0.2, 0.4, "within", "contradicted"),
        (-0.4, -0.2, "within", "contradicted"),
        (0.0, 0.4, "within", "inconclusive"),
        (-0.4, 0.4, "within", "inconclusive"),
        (np.nan, np.nan, "within", "inconclusive"),
        (0.0, 0.0, "below", "inconclusive"),
        (0.3, 0.3, "below", "inconclusive"),
        (0.0, 0.0, "within", "inconclusive"),
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


@pytest.mark.parametrize("direction", ["above", "below", "within"])
def test_p_is_below_the_level_where_the_verdict_is_out_and_nowhere_else(direction):
    rng = np.random.default_rng(7)
    for _ in range(300):
        mean, low, high = rng.normal(), *rng.gamma(1, 0.5, size=2)
        ends, threshold = (mean - low, mean + high), rng.gamma(1, 0.5)
        p = p_value(mean, *ends, threshold, direction, 0.9, 5)
        assert (p < 0.1) == (verdict(*ends, threshold, direction) != "inconclusive")


@pytest.mark.parametrize("scale", ["plain", "logit", "exact"])
def test_at_the_level_of_p_the_interval_ends_at_the_threshold(scale):
    values = RNG.beta(8, 2, size=9)
    if scale == "exact":
        values = (values > 0.75).astype(float)
    bounds = (-np.inf, np.inf) if scale == "plain" else (0, 1)

    def interval(confidence: float) -> dict[str, float]:
        return jackknife(values, [np.arange(9)], confidence, bounds, outcomes=scale == "exact")

    for threshold, end in ((0.3, "ci_low"), (0.97, "ci_high")):
        found = (interval(0.95)[name] for name in ("mean", "ci_low", "ci_high"))
        p = p_value(*found, threshold, "above", 0.95, 9, scale, bounds)
        assert 1e-9 < p < 0.5
        assert interval(1 - p)[end] == pytest.approx(threshold, rel=1e-6)


def test_p_of_a_t_interval_is_that_of_the_t_test():
    values = RNG.normal(size=6) + 1
    ends = stats.t.interval(0.95, 5, values.mean(), stats.sem(values))
    p = p_value(values.mean(), *ends, 0.2, "above", 0.95, 6)
    assert p == pytest.approx(stats.ttest_1samp(values, 0.2).pvalue)
    assert np.isnan(p_value(0.5, np.nan, np.nan, 0.2, "above", 0.95, 1))
    for direction in ("above", "below", "within"):  # without width there is no p
        assert np.isnan(p_value(0.5, 0.5, 0.5, 0.2, direction, 0.95, 3))


def test_holm_by_hand_and_in_the_family():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, np.nan])[0] == 0.02 and np.isnan(holm([0.01, np.nan])[1])
    rng = np.random.default_rng(8)
    wrong = np.mean([(holm(rng.random(30)) < 0.05).any() for _ in range(2000)])
    assert 0.04 <= wrong <= 0.06
