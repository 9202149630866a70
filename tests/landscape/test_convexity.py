"""Tests of convexity on losses that are convex, concave, or known in closed form."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.func import functional_call, hessian
from torch.nn import functional

from basins.errors import UserError
from basins.landscape import convexity
from tests.landscape.analytic import terrain, values

SCALE = torch.tensor([4.0, 1.0, 0.25])
CORNERS = [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [-1.0, 0, 0]]


def bowl(w):
    return 1 + (SCALE * w**2).sum() / 2


def wells(w):
    """Minima of 1 at w = -1 and 1, with 2 between them."""
    return 1 + (w[0] ** 2 - 1) ** 2


def measured(ground, **options):
    return convexity.measure(ground, sizes=[2, 3], draws=30, **options)


def test_a_parabola_has_its_second_derivative():
    t = np.linspace(0, 1, 6)
    assert convexity.second_difference(t, 3 * t**2 - t) == pytest.approx(6)
    assert convexity.second_difference(t, np.abs(t - 0.4)) == pytest.approx(0, abs=1e-9)
    assert convexity.second_difference(t, np.sin(np.pi * t)) < -5
    assert np.isnan(convexity.second_difference(t**2, t))


def test_lanczos_finds_a_known_spectrum():
    values_ = torch.tensor([5.0, 2.0, -1.0, 0.5, -3.0])
    first = torch.tensor([1.0, 1.0, 2.0, 1.0, 1.0])
    found = convexity.spectrum(lambda v: values_ * v, [first], 5)
    assert found.highest == pytest.approx(5, rel=1e-4)
    assert found.lowest == pytest.approx(-3, rel=1e-4)
    assert found.negative == pytest.approx(5 / 8, rel=1e-3)  # 2^2 + 1^2 of the first's 8
    few = convexity.spectrum(lambda v: values_ * v, [first], 3)
    assert few.lowest >= -3 and few.highest <= 5.0001
    same = convexity.spectrum(lambda v: 2 * v, [first], 5)  # one product tells all
    assert same == pytest.approx((2, 2, 0), abs=1e-5)
    other = torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0])  # sees two of them, of which one is negative
    both = convexity.spectrum(lambda v: values_ * v, [first, other], 5)
    assert both == pytest.approx((5, -3, (5 / 8 + 1 / 2) / 2), rel=1e-3)


@pytest.mark.parametrize("steps", [20, 100, 400])
def test_the_negative_share_is_that_of_the_dense_hessian(steps):
    """Of a perceptron after so many steps of training; the error is that of random starts."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        x = torch.randn(96, 4)
        y = (x[:, 0] * x[:, 1] > 0).long() + (x[:, 2] > 1).long()
        layers = [nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)]
        net = nn.Sequential(*layers)
        starts = [torch.randn(139) for _ in range(8)]
    optimiser = torch.optim.SGD(net.parameters(), 0.3, momentum=0.9)
    for _ in range(steps):
        optimiser.zero_grad()
        functional.cross_entropy(net(x), y).backward()
        optimiser.step()
    named = {name: p.detach() for name, p in net.named_parameters()}

    def loss(vector):
        parts = vector.split([p.numel() for p in named.values()])
        at = {n: part.view_as(p) for (n, p), part in zip(named.items(), parts, strict=True)}
        return functional.cross_entropy(functional_call(net, at, (x,)), y)

    dense = hessian(loss)(torch.cat([p.flatten() for p in named.values()]))
    values_ = np.linalg.eigvalsh(dense.double().numpy())
    share = (values_ < -1e-3 * np.abs(values_).max()).mean()
    found = convexity.spectrum(lambda v: dense @ v, starts, 60)
    assert share > 0.05
    assert found.negative == pytest.approx(
        share, abs=3 * (2 * share * (1 - share) / 139 / 8) ** 0.5
    )
    assert found.highest == pytest.approx(values_[-1], rel=1e-3)
    assert found.lowest == pytest.approx(values_[0], rel=1e-2)


def cusp(w):
    """A loss whose second derivative is infinite where a weight is 0."""
    return 1 + (w.abs() ** 1.5).sum()


def test_a_hessian_that_is_not_finite_is_named_with_its_models():
    with pytest.raises(UserError, match="^end of net/seed0: Lanczos, step 1: .* is not finite; "):
        measured(terrain(cusp, CORNERS), test="A5 ends")


def test_the_radius_is_where_the_loss_has_risen():
    assert convexity.radius(lambda r: r**2, 0.25) == pytest.approx(0.5, rel=0.07)
    assert convexity.radius(lambda r: 3 * r, 0.03) == pytest.approx(0.01, rel=0.8)
    assert convexity.radius(lambda r: 0.0, 0.1) == 4.0


def test_a_convex_loss_passes_every_test():
    ground = terrain(bowl, CORNERS, labels=[0, 0, 0, 1])
    rows = measured(ground)
    jensen = [row for row in rows if row["quantity"] == "jensen"]
    assert all(row["value"] <= 1e-6 for row in jensen)
    assert {(row["x"], row["group"]) for row in jensen} == {
        (2, "within"), (2, "between"), (3, "within"), (3, "between")
    }  # fmt: skip
    assert len(jensen) == 120
    for row in jensen:
        own = row["models"].split(" + ")
        assert len(set(own)) == row["x"]
        assert (row["group"] == "within") == ("net/seed3" not in own)
    # Of all four: the mean of (4, 1, .25, 4) / 2, less the loss at (0, 1/4, 1/4).
    gain = 9.25 / 8 - (1 + 0.25) / 32
    whole = [r for r in rows if r["quantity"] == "soup gain" and r["group"] == "between"]
    assert whole[0]["value"] == pytest.approx(gain, rel=1e-5)
    assert len(whole) == 5
    assert max(values(rows, "star barrier")) == pytest.approx(0, abs=1e-6)
    assert values(rows, "top eigenvalue, end") == pytest.approx([4] * 4, rel=1e-3)
    assert values(rows, "negative share, centroid") == pytest.approx([0], abs=1e-6)


def test_the_ensemble_averages_probabilities():
    rows = measured(terrain(bowl, CORNERS[:3]), test="A3")
    losses = 1 + np.array([4, 1, 0.25]) / 2
    ensemble = -np.log(np.exp(-losses).mean())
    assert values(rows, "ensemble gain")[0] == pytest.approx(losses.mean() - ensemble, rel=1e-5)
    for gain, soup, between in zip(
        *(values(rows, q) for q in ("ensemble gain", "soup gain", "soup less ensemble")),
        strict=True,
    ):
        assert between == pytest.approx(gain - soup, abs=1e-5)
    sets = [row["models"].count("+") + 1 for row in rows if row["quantity"] == "soup gain"]
    assert sets == [3, 2, 2, 2]
    same = measured(terrain(bowl, [CORNERS[0]] * 3), test="A3")
    assert [row["value"] for row in same] == pytest.approx([0] * len(same), abs=1e-6)


def test_two_wells_fail_every_test():
    ground = terrain(wells, [[-1.0], [1.0]])
    assert all(j > 0 for j in values(measured(ground, test="A2"), "jensen"))
    assert values(measured(ground, test="A3"), "soup gain") == pytest.approx([-1])
    tests = ("A5 ends", "A5 between")
    curved = [row for test in tests for row in measured(ground, test=test, places=2)]
    assert values(curved, "top eigenvalue, end") == pytest.approx([8, 8], rel=1e-3)
    assert values(curved, "lowest eigenvalue, midpoint") == pytest.approx([-4], rel=1e-3)
    assert values(curved, "negative share, midpoint") == pytest.approx([1])
    star = measured(terrain(wells, [[-1.0], [0.5]]), test="A4", points=9)
    assert max(values(star, "star barrier")) > 0.1


def test_radii_go_by_the_norm_of_the_filters():
    """The loss at w (1 + r u), |u| = 1, is 1 + |w|^2 (1 + r^2) / 2 plus what averages out."""
    w = torch.tensor([0.5, 0.0])
    ground = terrain(lambda v: 1 + ((v - w) ** 2).sum() / 2, [w.tolist()] * 2)
    rows = measured(ground, test="A5r", margin=0.125 / 4, directions=3)
    assert values(rows, "radius, end") == pytest.approx([0.5, 0.5], rel=0.07)


def test_curves_come_from_the_experiment():
    models = [f"net/seed{k}" for k in range(3)]
    t = np.linspace(0, 1, 5)
    chosen = {"path": "linear", "alignment": "none", "eval_set": "test", "batchnorm": "interpolate"}
    pairs = pd.DataFrame(
        {"model_a": a, "model_b": b, "metric": metric, "barrier_linear": i + wrong,
         "convexity_gap": 2 * i + wrong, **{**chosen, **other}}
        for i, (a, b) in enumerate([*combinations(models, 2), ("net/seed0", "strange/seed0")])
        for metric, wrong in (("loss", 0), ("error", 70))
        for other in ({}, {"path": "bezier"}, {"eval_set": "odd"})
    )  # fmt: skip
    points = pd.DataFrame(
        {"model_a": a, "model_b": b, "t": s, "loss": (i - 1) * s**2, **chosen}
        for i, (a, b) in enumerate(combinations(models, 2))
        for s in t[::-1]
    )
    tables = {"barriers": pairs, "paths": points}
    rows = measured(terrain(bowl, CORNERS[:3], labels=[0, 0, 1], tables=tables), test="A1")
    assert values(rows, "barrier_linear") == [0, 1, 2]
    assert values(rows, "convexity_gap") == [0, 2, 4]
    assert values(rows, "second difference") == pytest.approx([-2, 0, 2], abs=1e-9)
    assert [row["group"] for row in rows[:6:2]] == ["within", "between", "between"]
    assert rows[0]["models"] == "net/seed0 + net/seed1"
    assert measured(terrain(bowl, CORNERS), test="A1") == []
