"""Clusters are found where they are, and not where they are not; nulls, scores and triangles."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from sklearn.cluster import KMeans
from sklearn.manifold import spectral_embedding
from sklearn.metrics import adjusted_rand_score

from basins.errors import UserError
from basins.statistics import cluster_rows, clusters, structure


def symmetric(values):
    upper = np.triu(values, 1)
    return upper + upper.T


def blocks(labels, within=0.08, between=0.35, spread=0.03, seed=0):
    """Gaps of clustered models: `within` or `between`, and noise."""
    labels = np.asarray(labels)
    noise = np.random.default_rng(seed).normal(0, spread, (len(labels),) * 2)
    gaps = symmetric(np.where(labels[:, None] == labels, within, between) + noise)
    return np.maximum(gaps, 0)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(cluster_rows, "DRAWS", 59)


def rng():
    return np.random.default_rng(1)


TWO = np.array([0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0])


def test_a_matrix_has_its_models_by_number_and_refuses_gaps_in_itself():
    names = [f"nli/seed{k}" for k in (0, 2, 10, 11)]
    pairs = [(a, b) for k, a in enumerate(names) for b in names[:k]]
    rows = pd.DataFrame(pairs, columns=["model_a", "model_b"]).assign(gap=range(6))
    models, gaps = clusters.matrix(rows.sample(frac=1, random_state=0), "gap")
    assert models == names
    assert gaps.tolist() == [[0, 0, 1, 3], [0, 0, 2, 4], [1, 2, 0, 5], [3, 4, 5, 0]]
    with pytest.raises(UserError, match="no gap of nli/seed2 and nli/seed10"):
        clusters.matrix(rows.drop(2), "gap")
    with pytest.raises(UserError, match="no gap of nli/seed0 and nli/seed2"):
        clusters.matrix(rows.assign(gap=[np.nan, 1, 2, 3, 4, 5]), "gap")
    back = rows.iloc[[0]].rename(columns={"model_a": "model_b", "model_b": "model_a"})
    with pytest.raises(UserError, match="joined twice"):
        clusters.matrix(pd.concat([rows, back]), "gap")
    with pytest.raises(UserError, match="3 models"):
        clusters.matrix(rows.iloc[:3], "gap")


@pytest.mark.parametrize("width", [1.0, 10.0])
def test_the_embedding_is_scikit_learns_but_for_signs(width):
    gaps = blocks(TWO)
    delta = width * np.median(gaps[np.triu_indices(14, 1)])
    affinity = np.exp(-(gaps**2) / (2 * delta**2))
    theirs = spectral_embedding(affinity, n_components=2, drop_first=False, random_state=0)
    ours = clusters.embedding(gaps, delta)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-7)


def test_scaling_gives_back_points_on_a_plane():
    points = rng().normal(size=(9, 2))
    gaps = np.linalg.norm(points[:, None] - points, axis=-1)
    found = clusters.scaling(gaps, 2)
    np.testing.assert_allclose(np.linalg.norm(found[:, None] - found, axis=-1), gaps, atol=1e-9)


def test_k_means_is_as_good_as_scikit_learns_and_numbers_by_size():
    for seed, k in permutations(range(1, 5), 2):
        points = np.random.default_rng(seed).normal(size=(30, 2))
        labels = clusters.k_means(points, k, rng())
        centres = np.array([points[labels == label].mean(0) for label in range(k)])
        squares = np.square(points - centres[labels]).sum()
        best = KMeans(k, n_init=20, random_state=0).fit(points).inertia_
        assert squares <= 1.1 * best
        sizes = np.bincount(labels).tolist()
        assert sizes == sorted(sizes, reverse=True) and len(sizes) == k


def test_equal_clusters_are_numbered_by_their_first_model():
    labels = clusters.partition(blocks([0, 1, 1, 0, 1, 0]), 2, rng())
    assert labels.tolist() == [0, 1, 1, 0, 1, 0]


@pytest.mark.parametrize("unit", [1e-3, 1.0, 50.0])
def test_clusters_and_scores_do_not_depend_on_the_unit_and_the_larger_is_negative(unit):
    gaps = blocks(TWO)
    for k in (gaps, gaps[::-1, ::-1]):
        truth = TWO if k is gaps else TWO[::-1]
        assert (clusters.partition(unit * k, 2, rng()) == truth).all()
        score = clusters.score(unit * k, rng())
        assert (score[truth == 0] < 0).all() and (score[truth == 1] > 0).all()
        np.testing.assert_allclose(score, clusters.score(k, rng()), rtol=1e-5, atol=1e-9)
        assert clusters.scaling_agreement(unit * k, score) > 0.99


@pytest.mark.parametrize(
    "labels", [TWO, [0] * 6 + [1] * 6, [0] * 9 + [1] * 3, [0] * 20 + [1] * 4, [0] * 5 + [1] * 7]
)
@pytest.mark.parametrize("unit", [1e-3, 1.0, 50.0])
def test_clusters_are_shown(labels, unit):
    found = structure.several(unit * blocks(labels), rng(), 0.05)
    assert (found.k, found.decides, found.note) == (2, True, "")
    # No draw of 999 explains as much, and two clusters and more are tried: six models for each.
    assert found.p == max(1, len(labels) // 6 - 1) / 1000
    assert found.alike > 0.05 and 2 < found.ratio < 6
    assert clusters.adjusted_rand(found.labels, np.array(labels)) == 1


def test_clusters_are_counted():
    for labels in ([0] * 6 + [1] * 6 + [2] * 6, np.arange(24) % 4):
        assert structure.several(blocks(labels), rng(), 0.05).k == max(labels) + 1
    few = structure.several(blocks(np.arange(12) % 3), rng(), 0.05)  # three, of twelve models
    assert few.k == 1 and not few.decides


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("spread", [0.0, 0.03])
def test_planted_clusters_of_nine_and_three_are_shown_also_without_any_gap_within(seed, spread):
    labels = np.random.default_rng(seed).permutation([0] * 9 + [1] * 3)
    with np.errstate(all="raise", under="ignore"):
        for within in (0.0, 0.08):
            gaps = blocks(labels, within, 0.28, spread, seed)
            assert structure.several(gaps, rng(), 0.05, 199).k == 2


def test_of_fewer_than_twelve_models_nothing_is_said():
    for count in (4, 6, 11):
        labels = np.arange(count) % 2
        for gaps in (blocks(labels), blocks(labels, 0.0, 0.28, 0.0), np.zeros((count, count))):
            found = structure.several(gaps, rng(), 0.05, 99)
            assert (found.k, found.decides) == (1, False) and "fewer than 12" in found.note


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_models_that_are_all_alike_are_not_shown_to_be_clusters(value):
    found = structure.several(value * (1 - np.eye(12)), rng(), 0.05, 99)
    assert (found.k, found.decides) == (1, False) and found.p > 0.05


def test_a_model_far_from_all_others_is_no_cluster():
    for far in ([3], [3, 7]):
        gaps = blocks([0] * 14)
        gaps[far] *= 5
        gaps[:, far] *= 5
        assert not structure.several(gaps, rng(), 0.05, 199).decides


def test_what_models_add_is_taken_off():
    own = rng().normal(size=9)
    rest = structure.without_models(own[:, None] + own + 3)
    np.testing.assert_allclose(rest, 0, atol=1e-12)
    left = structure.without_models(blocks(TWO))
    np.testing.assert_allclose(left.sum(0), 0, atol=1e-12)
    np.testing.assert_allclose(structure.without_models(left), left, atol=1e-12)


def values_of(kind, random, own, between):
    pairs = symmetric(random.normal(size=(len(own),) * 2))
    return {
        "noise": pairs,
        "effects of models": pairs + 3 * own[:, None] + 3 * own,
        "the worse model's": pairs + 3 * np.maximum(own[:, None], own),
        "skewed": symmetric(random.exponential(size=pairs.shape)),
        "between": pairs + own[:, None] + own + 2 * between,
    }[kind]


@pytest.mark.parametrize("clustered", [True, False])
@pytest.mark.parametrize("kind", ["noise", "effects of models", "the worse model's", "skewed"])
def test_values_do_not_go_with_clusters_more_often_than_stated(kind, clustered):
    """Also where a bad model is far from all others, and no good between any two."""
    random, shown = np.random.default_rng(9), []
    labels = np.repeat([0, 1], (8, 4))
    between = labels[:, None] != labels
    for _ in range(200):
        own = random.normal(0, 0.4, 12)
        gaps = symmetric(random.gamma(9, 1 / 9, (12, 12))) * np.exp(own[:, None] + own)
        gaps *= 1 + 2 * between * clustered
        values = values_of(kind, random, own, between)
        found = structure.between(values, gaps, 2, random, 0.9, 59)
        shown.append(
            [found["decides"] and side for side in (found["ci_low"] > 0, found["ci_high"] < 0)]
        )
    assert (np.sum(shown, axis=0) <= binom.ppf(0.999, 200, 0.05)).all()


def test_values_that_go_with_clusters_are_seen_and_measured():
    random, found = np.random.default_rng(10), []
    labels = np.repeat([0, 1], (8, 4))
    between = labels[:, None] != labels
    for _ in range(60):
        own = random.normal(0, 0.2, 12)
        gaps = blocks(labels, seed=int(random.integers(1 << 30)))
        values = values_of("between", random, own, between)
        values[0, 5:] = values[5:, 0] = np.nan  # some pairs are unknown
        found.append(structure.between(values, gaps, 2, random, 0.95, 99))
    assert np.mean([row["decides"] and row["ci_low"] > 0 for row in found]) > 0.9
    assert np.mean([row["mean"] for row in found]) == pytest.approx(2, abs=0.15)
    assert np.mean([row["ci_low"] < 2 < row["ci_high"] for row in found]) > 0.85
    few = structure.between(values, blocks([0] * 10 + [1] * 2), 2, random, 0.95, 99)
    assert not few["decides"] and "fewer than three" in few["note"] and np.isnan(few["ci_low"])


def test_clusters_of_a_pair_are_those_that_all_other_gaps_say():
    labels = np.array([0] * 8 + [1] * 4)
    apart = labels[:, None] != labels
    gaps = blocks(labels)
    assert (structure.cross_fitted(gaps, 2, rng()) == apart).all()
    for a, b in ((0, 1), (0, 11), (8, 9)):  # whatever its own gap is
        for own in (0.0, 0.02, 2.0):
            changed = gaps.copy()
            changed[a, b] = changed[b, a] = own
            assert structure.cross_fitted(changed, 2, rng())[a, b] == apart[a, b]


def test_gaps_of_noise_are_no_smaller_within_cross_fitted_clusters():
    """Within clusters as given they are: of two groups the one with small gaps is a cluster."""
    random, first, second = np.random.default_rng(4), *np.triu_indices(12, 1)
    less = []
    for _ in range(80):
        gaps = symmetric(random.gamma(9, 1 / 9, (12, 12)))
        given = clusters.partition(gaps, 2, random)
        pairs = gaps[first, second]
        less.append([
            pairs[apart[first, second]].mean() - pairs[~apart[first, second]].mean()
            for apart in (structure.cross_fitted(gaps, 2, random), given[:, None] != given)
        ])  # fmt: skip
    (crossed, given), error = np.mean(less, 0), np.std(less, 0)[0] / 80**0.5
    assert abs(crossed) < 3 * error < 0.05 < given


def test_pairs_of_rows_are_typed_by_the_other_pairs():
    labels = np.array([0] * 8 + [1] * 4)
    names = [f"nli/seed{k}" for k in range(12)]
    first, second = np.triu_indices(12, 1)
    rows = pd.DataFrame({
        "model_a": np.array(names)[first], "model_b": np.array(names)[second],
        "convexity_gap": blocks(labels)[first, second],
    })  # fmt: skip
    others = pd.concat([rows.iloc[::-1], rows.iloc[:3].assign(model_b="other/seed0")])
    found = cluster_rows.typed(others, rows)
    assert len(found) == 66  # those of clustered models
    known = dict(zip(names, labels, strict=True))
    expected = found["model_a"].map(known) != found["model_b"].map(known)
    assert (found["pair_type"] == cluster_rows.PAIR_TYPES[1]).equals(expected)
    assert set(found["pair_type"]) == {cluster_rows.WITHIN, cluster_rows.PAIR_TYPES[1]}
    assert cluster_rows.typed(rows.iloc[:0], rows).empty


def test_permuted_matrices_keep_the_gaps_but_not_their_places():
    gaps = blocks(TWO)
    dealt = clusters.permuted(gaps, 50, rng())
    pairs = np.triu_indices(14, 1)
    assert (np.sort(dealt[:, *pairs], axis=-1) == np.sort(gaps[pairs])).all()
    assert (dealt == dealt.swapaxes(1, 2)).all() and not np.diagonal(dealt, axis1=1, axis2=2).any()
    assert len(np.unique(dealt[:, 0, 1])) > 20


def test_the_rand_index_is_scikit_learns():
    random = rng()
    a, b = random.integers(3, size=(2, 20, 9))
    ours = clusters.adjusted_rand(a, b)
    np.testing.assert_allclose(ours, [adjusted_rand_score(*ab) for ab in zip(a, b, strict=True)])
    assert clusters.adjusted_rand(np.zeros(4, int), np.zeros(4, int)) == 1


def test_stability_is_that_of_the_model_that_belongs_nowhere():
    gaps = blocks([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1], spread=0.005)
    gaps[0, 1:] = gaps[1:, 0] = 0.2  # as far from all others
    labels = clusters.partition(gaps, 2, rng())
    found = clusters.over_models(gaps, labels, rng(), 100)
    assert found.models[1:].min() > 0.9 and found.rand.shape == (100,)
    shaken = gaps + symmetric(rng().normal(0, 0.02, (12, 12)))[None] * np.ones((3, 1, 1))
    whole = clusters.over_examples(np.stack([gaps, gaps]), labels, rng())
    assert (whole.rand == 1).all() and (whole.models == 1).all()
    labels[1] = 1 - labels[1]  # one model elsewhere: its pairs with the others are broken
    other = clusters.over_examples(shaken, labels, rng())
    assert other.models[1] == 0 and (other.rand < 1).all()
    assert other.models[2] == pytest.approx(10 / 11)


def test_separation_is_a_ratio_of_means():
    exact = blocks(TWO, spread=0)
    assert clusters.separation(exact, TWO) == pytest.approx(0.35 / 0.08)
    assert clusters.separation(np.where(exact > 0.1, exact, 0), TWO) == np.inf


def test_triangles_are_broken_by_hand_computed_shares():
    gaps = np.zeros((4, 4))
    for (a, b), gap in {(0, 1): 1, (1, 2): 1, (0, 2): 4, (0, 3): 2, (1, 3): 2, (2, 3): 2}.items():
        gaps[a, b] = gaps[b, a] = gap
    found = clusters.transitivity(gaps)
    triples = dict(
        zip(zip(*(m.tolist() for m in found.models), strict=True), found.excess, strict=True)
    )
    assert triples == {(0, 1, 2): 1, (0, 1, 3): 0, (0, 2, 3): 0, (1, 2, 3): 0}
    assert not clusters.transitivity(np.zeros((4, 4))).excess.any()


def rows_of(found):
    return found.statistics.loc[found.statistics["statistic"] != "width"].set_index("statistic")


def test_rows_say_what_speaks_for_the_clusters():
    gaps = blocks(TWO)
    resampled = gaps + symmetric(rng().normal(0, 0.02, (14, 14)))[None] * rng().normal(
        size=(40, 1, 1)
    )
    models = [f"nli/seed{k}" for k in range(14)]
    found = cluster_rows.find(models, gaps, resampled, rng())
    assert found.models["model"].tolist() == models
    assert (found.models["cluster"] == TWO).all()
    assert ((found.models["score"] > 0) == (TWO == 1)).all()
    assert found.models[["stability", "stability_examples"]].min().min() > 0.95
    rows = rows_of(found)
    assert (rows["n"] == 14).all()
    assert (
        rows.loc["chosen", ["k", "estimate"]].tolist() == [2, 2] and rows.at["chosen", "p"] < 0.05
    )
    assert rows.at["apart", "estimate"] > 2.5 and rows.at["alike", "estimate"] > 0.05
    assert rows.at["ratio", "estimate"] == pytest.approx(rows.at["separation", "estimate"], rel=0.2)
    assert rows.at["smallest", "estimate"] == pytest.approx(3 / 14)
    assert rows.at["smallest", "ci_low"] < 3 / 14 < rows.at["smallest", "ci_high"]
    assert rows.at["scaling", "estimate"] > 0.99
    widths = found.statistics.query("statistic == 'width'")
    assert widths["width"].tolist() == list(clusters.WIDTHS) and (widths["estimate"] == 1).all()


def test_a_model_far_from_all_others_breaks_no_arithmetic():
    gaps = blocks([0] * 12)
    for far in (1.0, 100.0):
        gaps[3, :3] = gaps[3, 4:] = gaps[:3, 3] = gaps[4:, 3] = far
        with np.errstate(all="raise", under="ignore"):
            for width in clusters.WIDTHS:
                assert np.isfinite(clusters.score(gaps, rng(), width)).all()
            labels = clusters.partition(gaps, 2, rng())
        if far == 1:
            assert labels.tolist() == [0, 0, 0, 1] + [0] * 8


def test_rows_of_noise_say_that_there_is_nothing():
    gaps = symmetric(rng().uniform(0.05, 0.1, (12, 12)))
    found = cluster_rows.find([f"nli/seed{k}" for k in range(12)], gaps, None, rng(), k=None)
    rows = rows_of(found)
    assert not found.models["cluster"].any() and found.models["stability_examples"].isna().all()
    assert rows.loc["chosen", ["k", "estimate"]].tolist() == [1, 1]
    assert not {"separation", "smallest", "stability_examples"} & set(rows.index)


def test_clusters_and_what_goes_with_them_are_read_from_rows_of_pairs():
    names = [f"nli/seed{k}" for k in range(14)]
    gaps = blocks(TWO)
    pairs = pd.DataFrame(
        [(names[a], names[b], gaps[a, b]) for a in range(14) for b in range(a)],
        columns=["model_a", "model_b", "convexity_gap"],
    ).sample(frac=1, random_state=0)
    found = cluster_rows.several(pairs, draws=199)
    assert found.decides and (found.labels == TWO).all()
    assert cluster_rows.several(pairs, draws=199).p == found.p
    random = np.random.default_rng(3)
    across = [TWO[int(a[8:])] != TWO[int(b[8:])] for a, b in pairs[["model_a", "model_b"]].values]
    early = pairs.replace(r"^nli/", "nli/step160/", regex=True)
    early = early.assign(loss=random.normal(size=len(pairs)) + 2 * np.array(across))
    known = cluster_rows.between(early, "loss", pairs, draws=199)
    assert known["decides"] and known["ci_low"] < 2 < known["ci_high"] and known["p"] < 0.02
    twice = pd.concat([pairs, pairs.replace(r"^nli/", "qqp/", regex=True)])
    with pytest.raises(UserError, match="no convexity_gap"):
        cluster_rows.between(early, "loss", twice)


def test_pairs_between_clusters_start_in_the_larger():
    cluster = {"m/seed0": 0, "m/seed1": 1, "m/seed2": 0, "m/seed3": 1}
    pairs = [(0, 2), (0, 1), (3, 0), (1, 3), (0, 9)]
    rows = pd.DataFrame(
        {"model_a": f"m/seed{a}", "model_b": f"m/seed{b}", "t": t, "loss": t}
        for a, b in pairs
        for t in (0.0, 0.1, 1.0)
    )
    typed = cluster_rows.pair_types(rows, cluster)
    larger, between, smaller = cluster_rows.PAIR_TYPES
    assert typed["pair_type"].tolist() == [larger] * 3 + [between] * 6 + [smaller] * 3
    turned = typed.iloc[6:9]
    assert set(turned["model_a"]) == {"m/seed0"} and set(turned["model_b"]) == {"m/seed3"}
    assert turned["t"].tolist() == [1.0, 0.9, 0.0] and turned["loss"].tolist() == [0.0, 0.1, 1.0]
    assert (typed.iloc[:6][["model_a", "t"]] == rows.iloc[:6][["model_a", "t"]]).all().all()


def test_clusters_are_steady_where_no_model_holds_them_together():
    places = np.repeat([0.0, 5.0], 4)
    gaps = np.abs(places[:, None] - places)
    assert not structure.unsteady(blocks(TWO), 2, rng()).any()
    assert not structure.unsteady(gaps, 2, rng()).any()
    gaps = np.pad(gaps, (0, 1), constant_values=30.0)  # a far model, a cluster by itself
    np.fill_diagonal(gaps, 0)
    assert structure.unsteady(gaps, 2, rng()).tolist() == [False] * 8 + [True]
