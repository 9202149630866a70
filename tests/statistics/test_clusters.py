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
from basins.statistics import cluster_rows, clusters


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


def nulls(kind, draws):
    """Matrices [draws, 12, 12] without clusters."""
    random = np.random.default_rng(5)
    if kind == "permuted":
        return clusters.permuted(blocks(TWO[:12]), draws, random)
    noise = {
        "normal": lambda size: np.maximum(random.normal(0.06, 0.02, size), 0),
        "exponential": lambda size: random.exponential(0.05, size),
        "mostly zero": lambda size: np.maximum(random.normal(-0.01, 0.02, size), 0),
    }[kind]
    return np.array([symmetric(noise((12, 12))) for _ in range(draws)])


@pytest.mark.parametrize("kind", ["normal", "exponential", "mostly zero", "permuted"])
def test_noise_has_clusters_no_more_and_no_less_often_than_the_stated_rate(kind):
    """At the level .1, rejections are as many as 300 fair draws have but once in a thousand."""
    found = [
        clusters.eigengap(gaps, clusters.permuted(gaps, 39, rng()), 0.1).k > 1
        for gaps in nulls(kind, 300)
    ]
    low, high = binom.ppf([0.0005, 0.9995], 300, 0.1)
    assert low <= sum(found) <= high


@pytest.mark.parametrize("kind", ["normal", "permuted"])
def test_noise_is_no_clusters_unless_both_methods_find_them(kind):
    found = [clusters.number(gaps, rng(), 0.1, draws=19) for gaps in nulls(kind, 15)]
    for choice in found:
        assert choice["chosen"].k == min(choice["eigengap"].k, choice["gap"].k)
    assert sum(choice["chosen"].k > 1 for choice in found) <= binom.ppf(0.999, 15, 0.1)


def test_a_continuum_is_no_clusters_though_it_is_no_noise():
    random, found = np.random.default_rng(3), []
    for _ in range(10):
        places = np.sort(random.uniform(0, 1, 16))
        gaps = np.abs(places[:, None] - places)
        found.append(clusters.number(gaps, random, 0.05, draws=39))
    assert sum(choice["eigengap"].k > 1 for choice in found) == 10
    assert sum(choice["chosen"].k > 1 for choice in found) <= binom.ppf(0.999, 10, 0.05)


@pytest.mark.parametrize(
    "labels", [TWO, [0, 0, 0, 0, 0, 1, 1, 1], [0] * 6 + [1] * 6 + [2] * 5, [0] * 20 + [1] * 4]
)
def test_clusters_are_counted(labels):
    found = clusters.number(blocks(labels), rng(), 0.05)
    assert {name: choice.k for name, choice in found.items()} == dict.fromkeys(
        ("eigengap", "gap", "chosen"), max(labels) + 1
    )


def test_two_models_may_be_a_cluster_but_one_is_not():
    found = clusters.number(blocks([0] * 12 + [1] * 2), rng(), 0.05)
    assert found["chosen"].k == 2
    found = clusters.number(blocks([0] * 13 + [1]), rng(), 0.05)
    assert (found["gap"].k, found["chosen"].k) == (2, 1)


@pytest.mark.parametrize("models", [4, 5])
def test_of_few_models_fewer_clusters_are_looked_for(models):
    labels = [0, 0] + [1] * (models - 2)
    for gaps in (blocks(labels), clusters.permuted(blocks(labels), 1, rng())[0]):
        found = clusters.number(gaps, rng(), 0.05)
        assert all(choice.k < models and np.isfinite(choice.p) for choice in found.values())


def test_models_without_any_gap_are_no_clusters():
    found = clusters.number(np.zeros((8, 8)), rng(), 0.05)
    assert {choice.k for choice in found.values()} == {1}


def test_permuted_matrices_keep_the_gaps_but_not_their_places():
    gaps = blocks(TWO)
    dealt = clusters.permuted(gaps, 50, rng())
    pairs = np.triu_indices(14, 1)
    assert (np.sort(dealt[:, *pairs], axis=-1) == np.sort(gaps[pairs])).all()
    assert (dealt == dealt.swapaxes(1, 2)).all() and not np.diagonal(dealt, axis1=1, axis2=2).any()
    assert len(np.unique(dealt[:, 0, 1])) > 20


def test_noise_of_the_examples_alone_leaves_the_mean_and_the_noise():
    gaps = blocks(TWO)
    resampled = gaps + symmetric(rng().normal(0, 0.01, (14, 14)))
    (null,) = clusters.noise(gaps, resampled[None])
    pairs = np.triu_indices(14, 1)
    np.testing.assert_allclose(null[pairs], gaps[pairs].mean() + (resampled - gaps)[pairs])


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


def test_separation_is_a_ratio_of_means_and_no_accident():
    exact = blocks(TWO, spread=0)
    found = clusters.separation(exact, TWO, rng())
    assert found.statistic == pytest.approx(0.35 / 0.08) and found.p == pytest.approx(1 / 200)
    noise = symmetric(rng().uniform(0.05, 0.1, (14, 14)))
    assert clusters.separation(np.where(exact > 0.1, exact, 0), TWO, rng()).statistic == np.inf
    labels = clusters.partition(noise, 2, rng())
    assert clusters.separation(noise, labels, rng()).p > 0.05


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
    assert rows["k"].loc[["eigengap", "gap", "chosen", "noise"]].tolist() == [2, 2, 2, 2]
    assert rows["p"].loc[["eigengap", "noise", "separation"]].max() < 0.05
    assert rows.at["smallest", "estimate"] == pytest.approx(3 / 14)
    assert rows.at["smallest", "ci_low"] < 3 / 14 < rows.at["smallest", "ci_high"]
    assert rows.loc["chosen", ["ci_low", "ci_high"]].tolist() == [2, 2]
    assert rows.at["scaling", "estimate"] > 0.99
    widths = found.statistics.query("statistic == 'width'")
    assert widths["width"].tolist() == list(clusters.WIDTHS) and (widths["estimate"] == 1).all()


def test_a_cluster_that_hangs_on_one_model_shows_in_the_interval():
    gaps = blocks([0, 0, 0, 0, 0, 0, 0, 0, 1, 1], spread=0.01)
    rows = rows_of(cluster_rows.find([f"nli/seed{k}" for k in range(10)], gaps, None, rng()))
    assert rows.at["chosen", "k"] == 2
    assert rows.loc["chosen", ["ci_low", "ci_high"]].tolist() == [1, 2]
    few = cluster_rows.find([f"nli/seed{k}" for k in range(6)], gaps[4:, 4:], None, rng())
    assert np.isnan(rows_of(few).loc["chosen", ["ci_low", "ci_high"]].astype(float)).all()


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
    assert not {"separation", "smallest", "noise", "stability_examples"} & set(rows.index)


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
