"""A race on checkpoints decides as their full grid does, and is found again."""

from __future__ import annotations

import numpy as np
import pytest

from basins.item import get
from basins.landscape.barriers import barrier_linear
from basins.paths import points, races
from basins.paths.pairs import along, grid
from tests.paths.test_points import LINEAR, evaluate, models, nothing, sets

__all__ = ["models", "sets"]  # fixtures
TS = grid(5)


@pytest.mark.parametrize("mode", ["reset", "interpolate"])
def test_it_decides_as_the_full_grid_does(mode, models, sets):
    sets = sets._replace(batchnorm=(mode,))
    curve = along(LINEAR, tuple(models[:2]), TS)
    done = evaluate([curve], sets)
    errors = [1 - e.correct.mean() for e in points.load(curve, done).curves[mode, "test"]]
    barrier = float(barrier_linear(TS, np.array(errors)))
    for threshold, verdict in ((barrier + 0.3, "connected"), (max(0, barrier - 0.3), None)):
        options = {"metric": "error", "threshold": threshold, "batch": 20}
        item = races.Race(curve, TS, evaluate([races.ends(curve)], sets), options, sets)
        found = get(item, nothing)
        expected = verdict or ("not connected" if barrier > threshold else "connected")
        assert found.verdict == expected
        calibration = 256 if mode == "reset" else 0
        assert found.full == 3 * (200 + calibration)
        assert found.examples == sum(found.seen.values()) + calibration * len(found.seen)
        assert found.examples <= found.full
        assert get(item, nothing) == found


def test_it_is_run_as_if_nothing_came_before(models, sets, tmp_path):
    curve = along(LINEAR, tuple(models[:2]), TS)
    ends = evaluate([races.ends(curve)], sets)
    engine, *_ = points.prepared(curve.controls, sets)
    engine.double_entry.plain = True  # a fold that went wrong in an earlier item
    options = {"metric": "error", "threshold": 0.1, "batch": 20}
    races.Race(curve, TS, ends, options, sets).make(tmp_path, nothing)
    assert not engine.double_entry.plain
