import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basins.errors import UserError
from basins.landscape.barriers import (
    BARRIERS,
    barrier_endpoint,
    barrier_linear,
    barrier_mean,
    barrier_mid,
    convexity_gap,
)

QUARTERS = [0, 0.25, 0.5, 0.75, 1]


def random_grid(generator, points):
    return np.concatenate([[0], np.sort(generator.uniform(0.01, 0.99, points - 2)), [1]])


def brute_force_gap(t, losses):
    gap = 0.0
    for i, j in itertools.combinations(range(len(t)), 2):
        for k in range(i, j + 1):
            share = (t[k] - t[i]) / (t[j] - t[i])
            gap = max(gap, losses[k] - ((1 - share) * losses[i] + share * losses[j]))
    return gap


@pytest.mark.parametrize("points", [2, 3, 4, 11, 25])
def test_convexity_gap_is_the_brute_force_one(points):
    generator = np.random.default_rng(points)
    for _ in range(5):
        t = random_grid(generator, points)
        curves = generator.normal(size=(8, points))
        curves[4:] = generator.integers(0, 3, size=(4, points))
        expected = [brute_force_gap(t, curve) for curve in curves]
        np.testing.assert_allclose(convexity_gap(t, curves), expected, rtol=0, atol=1e-12)


def test_hand_computed_curve():
    losses = [1, 4, 2, 5, 3]
    assert barrier_linear(QUARTERS, losses) == 2.5  # both peaks lie 2.5 above the chord 1 + 2t
    assert barrier_mean(QUARTERS, losses) == 3
    assert barrier_mid(QUARTERS, losses) == 0
    assert barrier_endpoint(QUARTERS, losses) == 2
    assert convexity_gap(QUARTERS, losses) == 2.5


def test_the_excess_is_maximised_and_not_the_loss():
    losses = [0, 3, 4, 5, 8]  # the loss peaks at the end, where the excess is 0
    assert barrier_linear(QUARTERS, losses) == 1
    assert barrier_mean(QUARTERS, losses) == 4
    assert barrier_endpoint(QUARTERS, losses) == 0


def test_the_gap_sees_a_barrier_that_the_chord_hides():
    losses = [4, 0, 1, 0, 4]
    assert barrier_linear(QUARTERS, losses) == 0
    assert convexity_gap(QUARTERS, losses) == 1


def test_quadratic_bowl_has_no_barrier():
    t = np.linspace(0, 1, 33)
    bowls = np.array([3 * (t - 0.25) ** 2, 7 * t**2, (t - 0.5) ** 2 + 1])
    assert (barrier_linear(t, bowls) == 0).all()
    np.testing.assert_allclose(convexity_gap(t, bowls), 0, atol=1e-15)
    assert barrier_mid(t, bowls[2]) == -0.25


def test_double_well_has_its_height():
    t = np.linspace(0, 1, 65)
    x = 2 * t - 1
    well = 5 * (x**2 - 1) ** 2
    for name in BARRIERS:
        assert BARRIERS[name](t, well) == 5
    tilted = well + 2 * t
    assert barrier_linear(t, tilted) == pytest.approx(5)
    assert barrier_mid(t, tilted) == pytest.approx(5)
    assert barrier_endpoint(t, tilted) == pytest.approx(tilted.max() - 2)


curves = st.integers(0, 2**32 - 1).map(
    lambda seed: (lambda g: (random_grid(g, 12), g.normal(size=(3, 12))))(
        np.random.default_rng(seed)
    )
)
numbers = st.floats(-100, 100, allow_subnormal=False)  # this process may flush them to zero


@given(curves, numbers, numbers)
def test_affine_functions_change_neither_excess_nor_gap(drawn, slope, offset):
    t, losses = drawn
    tilted = losses + slope * t + offset
    for barrier in (barrier_linear, convexity_gap):
        np.testing.assert_allclose(barrier(t, tilted), barrier(t, losses), rtol=0, atol=1e-11)


@given(curves)
def test_order_of_the_definitions(drawn):
    t, losses = drawn
    assert (barrier_linear(t, losses) >= 0).all()
    assert (barrier_endpoint(t, losses) >= 0).all()
    assert (barrier_mean(t, losses) >= barrier_endpoint(t, losses)).all()
    assert (convexity_gap(t, losses) >= barrier_linear(t, losses) - 1e-12).all()


@given(curves, st.floats(0.01, 100))
def test_swapping_the_ends_changes_nothing_and_scale_scales(drawn, scale):
    t, losses = drawn
    for barrier in BARRIERS.values():
        value = barrier(t, losses)
        np.testing.assert_allclose(barrier(1 - t[::-1], losses[:, ::-1]), value, atol=1e-12)
        np.testing.assert_allclose(barrier(t, scale * losses), scale * value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", BARRIERS)
@pytest.mark.parametrize("level", [0.1, 1 / 3, -7.3, 1e10])
def test_constant_curves_are_exactly_zero(name, level):
    t = np.linspace(0, 1, 11)
    assert BARRIERS[name](t, np.full((2, 11), level)).tolist() == [0, 0]


@pytest.mark.parametrize("name", BARRIERS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [0, 1, 2, 4])
def test_what_is_not_finite_is_nan_in_its_curve_alone(name, bad, where):
    losses = np.array([[1.0, 4, 2, 5, 3]] * 2)
    losses[1, where] = bad
    first, second = BARRIERS[name](QUARTERS, losses)
    assert first == BARRIERS[name](QUARTERS, losses[0])
    assert np.isnan(second)


@pytest.mark.parametrize("name", BARRIERS)
def test_leading_axes_and_precision(name):
    losses = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)
    values = BARRIERS[name](QUARTERS, losses)
    assert values.shape == (2, 3)
    assert values.dtype == np.float64
    assert values[1, 2] == BARRIERS[name](QUARTERS, losses[1, 2])
    assert BARRIERS[name](QUARTERS, np.zeros((0, 5))).shape == (0,)


def test_the_middle_is_measured_or_missing():
    assert np.isnan(barrier_mid([0, 0.4, 1], [[1, 2, 3]])).all()
    assert barrier_mid(np.linspace(0, 1, 61), np.linspace(0, 1, 61)) == pytest.approx(0)


@pytest.mark.parametrize("name", BARRIERS)
@pytest.mark.parametrize(
    ("t", "losses"),
    [
        ([0, 0.5, 0.9], [1, 2, 3]),
        ([0.1, 0.5, 1], [1, 2, 3]),
        ([0, 0.5, 0.5, 1], [1, 2, 3, 4]),
        ([1, 0], [1, 2]),
        ([0], [1]),
        ([0, np.nan, 1], [1, 2, 3]),
        ([0, 0.5, 1], [1, 2]),
        ([0, 1], 3),
    ],
)
def test_refuses_what_is_no_curve(name, t, losses):
    with pytest.raises(UserError, match="^barrier: "):
        BARRIERS[name](t, losses)
