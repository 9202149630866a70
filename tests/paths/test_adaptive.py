"""Grid doubling against curves whose barriers are known, and its count of evaluations."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from basins.errors import UserError
from basins.landscape.barriers import barrier_linear, convexity_gap
from basins.paths.adaptive import refine
from basins.paths.pairs import grid


class Landscape:
    """Mean losses of some functions of t for each path, with a record of what was asked."""

    def __init__(self, **paths):
        self.paths = paths
        self.asked = defaultdict(set)
        self.rounds = []

    def __call__(self, grids):
        self.rounds.append(set(grids))
        for path, ts in grids.items():
            self.asked[path] |= set(ts)
        return {p: np.array([[f(t) for t in ts] for f in self.paths[p]]) for p, ts in grids.items()}

    def refined(self, measure=barrier_linear, start=3, tolerance=0.01, limit=500):
        return refine(
            list(self.paths), self, measure, start=start, tolerance=tolerance, limit=limit
        )


def flat(t):
    return 1 + t


def hill(t):
    return 4 * t * (1 - t)


def ridge(t):
    """A ridge of height 1 at 1/3, which every finer grid of halves comes nearer to."""
    return np.exp(-(((t - 1 / 3) / 0.1) ** 2))


def test_each_path_goes_on_until_its_own_barriers_settle():
    landscape = Landscape(flat=[flat], hill=[hill], ridge=[ridge], both=[hill, ridge])
    grids = landscape.refined()
    assert grids["flat"] == grids["hill"] == grid(5)  # the hill's top is in the middle
    assert grids["ridge"] == grids["both"] and len(grids["ridge"]) > 5
    assert landscape.rounds[:3] == [set(grids), set(grids), {"ridge", "both"}]
    for path, ts in grids.items():
        assert landscape.asked[path] == set(ts)  # the last grid holds all that was evaluated
    assert barrier_linear(grids["ridge"], ridge(np.array(grids["ridge"]))) == pytest.approx(
        1, abs=0.02
    )


@pytest.mark.parametrize("measure", [barrier_linear, convexity_gap])
def test_it_stops_at_the_first_two_grids_that_agree(measure):
    ts = Landscape(ridge=[ridge]).refined(measure, tolerance=0.02)["ridge"]
    last = [measure(ts[::step], ridge(np.array(ts[::step]))) for step in (1, 2, 4)]
    assert abs(last[0] - last[1]) < 0.02 <= abs(last[1] - last[2])


def test_agreement_is_no_bound():
    """A ridge between the points of two grids is missed by both."""
    (ts,) = Landscape(path=[lambda t: float(abs(t - 0.4) < 0.05)]).refined(tolerance=0.1).values()
    assert ts == grid(5)


def test_no_grid_has_more_points_than_the_limit():
    assert Landscape(ridge=[ridge]).refined(tolerance=1e-9, limit=16)["ridge"] == grid(9)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_goes_no_further(value):
    broken = Landscape(broken=[lambda t: value if t == 0.5 else 0.0], ridge=[ridge])
    grids = broken.refined()
    assert grids["broken"] == grid(3)
    assert len(grids["ridge"]) > 5


def test_a_limit_without_a_second_grid_is_refused():
    with pytest.raises(UserError, match="points: from 5, the next grid has 9: limit 8"):
        Landscape(hill=[hill]).refined(start=5, limit=8)
