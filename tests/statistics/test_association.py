"""Associations over models agree with SciPy's, with hand-computed cases, and with their nulls."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.stats import binom

from basins.statistics import association


def rng(seed=1):
    return np.random.default_rng(seed)


def test_correlations_are_scipys_along_the_last_axis():
    x, y = rng().normal(size=(2, 5, 12))
    y[2, :4] = y[2, 4]  # ties
    for ours, theirs in (
        (association.pearson, stats.pearsonr),
        (association.spearman, stats.spearmanr),
    ):
        np.testing.assert_allclose(
            ours(x, y), [theirs(*xy).statistic for xy in zip(x, y, strict=True)]
        )


def test_the_partial_correlation_is_that_of_the_textbook_formula():
    x, y, z = rng().normal(size=(3, 20)) + rng(2).normal(size=20)
    xy, xz, yz = (stats.pearsonr(*pair).statistic for pair in ((x, y), (x, z), (y, z)))
    expected = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert association.partial(x, y, z) == pytest.approx(expected)
    assert association.partial(x, y, np.ones(20)) == pytest.approx(xy)


def test_auc_is_the_share_of_pairs_in_which_the_smaller_cluster_is_lower():
    small = np.array([True, True, False, False, False])
    y = np.array([0.1, 0.5, 0.5, 0.4, 0.9])
    assert association.auc(small, y) == pytest.approx((3 + 0.5 + 1) / 6)
    mann_whitney = stats.mannwhitneyu(y[small], y[~small]).statistic
    assert association.auc(small, y) == pytest.approx(1 - mann_whitney / 6)
    assert association.difference(small, y) == pytest.approx(0.3 - 0.6)


def test_what_is_constant_goes_with_nothing():
    y, same = rng().normal(size=8), np.full(8, 0.1)
    assert np.isnan(association.pearson(same, y)) and np.isnan(association.pearson(y, same))
    assert np.isnan(association.auc(np.zeros(8), y))
    assert np.isnan(association.difference(np.ones(8), y))
    assert np.isnan(association.partial(y, rng(2).normal(size=8), y))
    found = list(association.rows(y, np.zeros(8), same, y, rng(), 100, 0.95))
    assert all(np.isnan([row["estimate"], row["ci_low"], row["p"]]).all() for row in found)


def gaussian(rho, count, random):
    x, noise = random.normal(size=(2, count))
    return x, rho * x + np.sqrt(1 - rho**2) * noise


def clusters(shift, few, count, random):
    small = np.arange(count) < few
    return small, random.normal(size=count) - shift * small


@pytest.mark.parametrize("count", [12, 40])
@pytest.mark.parametrize("rho", [0, 0.6])
def test_intervals_of_correlations_cover_as_they_say(rho, count):
    random = rng()
    pairs = [gaussian(rho, count, random) for _ in range(1000)]
    drivers = random.normal(size=(1000, count))
    cases = {
        association.pearson: (rho, pairs),
        association.spearman: (6 / np.pi * np.arcsin(rho / 2), pairs),  # of Gaussian pairs
        association.partial: (
            rho,
            [(x + z, y + z, z) for (x, y), z in zip(pairs, drivers, strict=True)],
        ),
    }
    for statistic, (true, samples) in cases.items():
        # Ranks of a dozen are coarse; there it covers a little more.
        most = 0.99 if statistic is association.spearman else 0.97
        assert 0.93 <= covered(statistic, samples, true) <= most


@pytest.mark.parametrize(("few", "count"), [(3, 12), (5, 12), (27, 100)])
@pytest.mark.parametrize("shift", [0, 1, 2])
def test_intervals_of_clusters_cover_as_they_say(shift, few, count):
    random = rng()
    samples = [clusters(shift, few, count, random) for _ in range(1000)]
    assert 0.93 <= covered(association.difference, samples, -shift) <= 0.97
    true = stats.norm.cdf(shift / np.sqrt(2))
    # A score interval of a share; near its end it covers a little more.
    assert 0.93 <= covered(association.auc, samples, true) <= 0.98


def covered(statistic, samples, true) -> float:
    ends = [association.interval(statistic, arrays, 0.95) for arrays in samples]
    return float(np.mean([low <= true <= high for low, high in ends]))


def test_the_interval_of_a_difference_is_welchs():
    small, y = clusters(1, 4, 12, rng())
    expected = stats.ttest_ind(y[small], y[~small], equal_var=False).confidence_interval(0.9)
    assert association.interval(association.difference, (small, y), 0.9) == pytest.approx(expected)


def test_an_area_of_one_or_nought_has_an_interval_still():
    small, y = np.arange(12) < 4, np.arange(12.0)
    low, high = association.interval(association.auc, (small, y), 0.95)
    assert 0.6 < low < 0.9 and high == 1
    assert association.interval(association.auc, (small, -y), 0.95) == pytest.approx((0, 1 - low))


def test_few_models_have_no_interval():
    x = np.arange(4.0)
    assert np.isnan(association.interval(association.pearson, (x, x), 0.95)).all()
    x = np.arange(5.0)
    assert np.isfinite(association.interval(association.pearson, (x, x), 0.95)).all()


@pytest.mark.parametrize("given", [False, True])
def test_p_values_are_uniform_where_there_is_nothing_else(given):
    """Given what drives both, x and y have nothing to do with each other: 10 % of p are below .1"""
    random, below = rng(), 0
    statistic = association.partial if given else association.pearson
    for _ in range(300):
        x, y, z = random.normal(size=(3, 15))
        if given:
            x, y = x + 2 * z, y + 2 * z
        p = association.permutation_p(statistic, x, y, random, 99, given=z if given else None)
        below += p <= 0.1
    assert binom.ppf(0.0005, 300, 0.1) <= below <= binom.ppf(0.9995, 300, 0.1)


def test_p_values_are_small_where_there_is_something():
    x = rng().normal(size=15)
    y = x + 0.1 * rng(2).normal(size=15)
    assert association.permutation_p(association.pearson, x, y, rng(), 999) == 0.001
    small, z = x > 0.5, rng(3).normal(size=15)
    p = association.permutation_p(association.auc, small, y, rng(), 999, centre=0.5)
    assert 0.001 <= p < 0.01
    assert association.permutation_p(association.partial, x, y, rng(), 999, given=z) == 0.001


def test_rows_name_every_statistic_and_how_far_another_score_is_ahead():
    z, noise = rng().normal(size=(2, 16))
    x = np.where(np.arange(16) < 4, 1.0, -1.0) + 0.1 * noise
    y = -x + 0.2 * rng(2).normal(size=16)
    rows = {
        row["statistic"]: row
        for row in association.rows(z, x > 0, y, z, rng(), 400, 0.95, against=x)
    }
    assert list(rows) == ["pearson", "spearman", "partial", "auc", "difference", "behind"]
    assert {row["n"] for row in rows.values()} == {16}
    assert rows["auc"]["estimate"] == 1 and rows["auc"]["p"] < 0.01
    assert rows["difference"]["estimate"] == pytest.approx(y[:4].mean() - y[4:].mean())
    assert rows["difference"]["ci_high"] < -1.5
    ahead = abs(stats.pearsonr(x, y).statistic) - abs(stats.pearsonr(z, y).statistic)
    assert rows["behind"]["estimate"] == pytest.approx(ahead)
    assert 0 < rows["behind"]["ci_low"] < ahead < rows["behind"]["ci_high"]
    without = [row["statistic"] for row in association.rows(x, x > 0, y, z, rng(), 400, 0.95)]
    assert without == list(rows)[:-1]
    alone = [row["statistic"] for row in association.rows(z, None, y, z, rng(), 400, 0.95)]
    assert alone == ["pearson", "spearman", "partial"]
