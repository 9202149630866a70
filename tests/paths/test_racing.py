"""Races against the full grid's verdict: never off where it is exact, rarely where it is not."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from basins import seeds
from basins.data.images import Evaluation
from basins.data.resident import Resident
from basins.errors import UserError
from basins.landscape.barriers import barrier_linear
from basins.paths.engine import Engine, combine
from basins.paths.evaluation import evaluate
from basins.paths.pairs import grid
from basins.paths.racing import Decision, middle_first, race
from basins.weights import flatten
from benchmarks.racing import audit
from tests.paths.conftest import trained

TS = grid(5)


class Table:
    """Losses [T, n] of a path's points as what a race visits, with a record of its looks."""

    def __init__(self, losses, ts=TS):
        losses = np.asarray(losses, np.float32)
        self.points = dict(zip(ts, (Evaluation(row, row < 0.5) for row in losses), strict=True))
        self.ends = self.points[ts[0]], self.points[ts[-1]]
        self.looks = []

    def __call__(self, t):
        def look(part):
            self.looks.append((t, part))
            return Evaluation(*(values[part] for values in self.points[t]))

        return look


def flat(*gaps, count=1000):
    """Return losses [T, count] of ends at 1 and of interior points that are `gaps` above it."""
    return np.array([[1.0 + gap] * count for gap in (0, *gaps, 0)])


def test_the_middle_comes_first():
    assert list(middle_first(TS[1:-1])) == [0.5, 0.25, 0.75]
    assert list(middle_first(range(1, 10))) == [5, 3, 8, 2, 4, 7, 9, 1, 6]
    assert sorted(middle_first(range(50))) == list(range(50))


def test_a_high_middle_ends_the_race_after_a_batch():
    table = Table(flat(0, 2, 0))
    found = race(table, table.ends, TS, metric="loss", threshold=0.1, batch=100, overhead=30)
    assert (found.verdict, found.t, found.seen) == ("not connected", 0.5, {0.5: 100})
    assert (found.examples, found.full) == (100 + 30, 3 * (1000 + 30))
    assert table.looks == [(0.5, slice(0, 100))]


def test_connected_takes_every_point_and_names_the_highest():
    table = Table(flat(0.01, -0.2, 0.02))
    found = race(table, table.ends, TS, metric="loss", threshold=0.5, batch=64, overhead=7)
    assert (found.verdict, found.t) == ("connected", 0.75)
    assert list(found.seen) == [0.5, 0.25, 0.75]
    assert found.examples == sum(found.seen.values()) + 3 * 7 < 3 * 1000
    assert found.interval[0] <= 0.02 <= found.interval[1] <= 0.5


def test_a_straight_line_between_unequal_ends_is_connected():
    table = Table(np.linspace(np.full(50, 1.0), np.full(50, 9.0), 5))
    found = race(table, table.ends, TS, metric="loss", threshold=0.25)
    assert found.verdict == "connected"
    assert list(found.seen.values()) == [50, 50, 50]


def test_looks_are_consecutive_batches_of_the_order():
    table = Table(flat(0.1, 0.1, 0.1, count=150))
    found = race(table, table.ends, TS, metric="loss", threshold=0.1, alpha=1e-9, batch=64)
    middle = [part for t, part in table.looks if t == 0.5]
    assert middle == [slice(0, 64), slice(64, 128), slice(128, 150)]
    assert found.seen[0.5] == 150


sizes = st.sampled_from([0, 0.25, 1, 2, 8])
losses = arrays(np.float32, (5, 8), elements=sizes, fill=st.nothing())


@given(losses, st.sampled_from([0, 0.125, 0.5]), st.sampled_from(["loss", "error"]))
def test_without_licence_to_err_it_is_the_full_grid(losses, threshold, metric):
    """No alpha this small is ever spent on eight examples; sums of eighths are exact."""
    table = Table(losses)
    values = losses if metric == "loss" else np.array([~table.points[t].correct for t in TS])
    barrier = barrier_linear(TS, values.mean(axis=1, dtype=np.float64))
    found = race(
        table, table.ends, TS, metric=metric, threshold=threshold, alpha=1e-200, clip=8, batch=3
    )
    assert audit([found], [barrier], threshold=threshold).agreement == 1
    assert found.examples <= found.full


def orders(losses, times):
    """Yield the losses [T, n] with their examples in random orders."""
    draw = seeds.generator("test", "orders")
    for _ in range(times):
        yield losses[:, draw.permutation(losses.shape[1])]


@pytest.mark.parametrize(("excess", "right"), [(-0.001, "connected"), (0.001, "not connected")])
def test_verdicts_are_rarely_wrong_where_it_is_hardest(excess, right):
    """Every point of nine, or only the middle, has a mean gap that hardly differs from 0.1."""
    draw, ts = seeds.generator("test", "hard"), grid(11)
    gaps = draw.choice([-1.0, 0.0, 2.0], (9, 200), p=[0.1, 0.75, 0.15])
    gaps += 0.1 + excess - gaps.mean(axis=1, keepdims=True)
    if right == "not connected":
        gaps[np.arange(9) != 4] = 0
    losses = np.vstack([np.full(200, 3.0), 3 + gaps, np.full(200, 3.0)])
    found = []
    for shuffled in orders(losses, 100):
        table = Table(shuffled, ts)
        options = {"metric": "loss", "threshold": 0.1, "alpha": 0.1, "batch": 10}
        found.append(race(table, table.ends, ts, **options))
    assert np.mean([decision.verdict != right for decision in found]) <= 0.1
    means = dict(zip(ts[1:-1], gaps.mean(axis=1), strict=True))
    outside = [not d.interval[0] <= means[d.t] + 1e-6 <= d.interval[1] + 2e-6 for d in found]
    assert np.mean(outside) <= 0.2


def test_a_gap_counts_at_most_the_clip():
    """One example in fifty is 50 nats worse: a barrier of 1, or of 0.02 with gaps clipped at 1."""
    gaps = np.where(np.arange(1000) % 50 == 25, 50.0, 0.0)
    table = Table([gaps * 0, gaps, gaps, gaps, gaps * 0])
    options = {"metric": "loss", "threshold": 0.05, "batch": 10}
    assert race(table, table.ends, TS, clip=1, **options).verdict == "connected"
    assert race(table, table.ends, TS, clip=40, **options).verdict == "not connected"


def test_error_counts_wrong_answers_and_not_their_loss():
    losses = np.zeros((5, 400))
    losses[2, ::4] = 100  # a quarter wrong in the middle, by however much
    table = Table(losses)
    for threshold, verdict in ((0.2, "not connected"), (0.3, "connected")):
        options = {"metric": "error", "threshold": threshold, "alpha": 0.05}
        assert race(table, table.ends, TS, **options).verdict == verdict


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_has_no_verdict(value):
    losses = flat(0, 0, 0)
    losses[1, 3] = value
    table = Table(losses)
    found = race(table, table.ends, TS, metric="loss", threshold=0.5, batch=10)
    assert (found.verdict, found.t, found.seen[0.25]) == ("undefined", 0.25, 10)
    assert np.isnan(found.interval).all()
    assert audit([found], [np.nan], threshold=0.5).agreement == 1


def test_what_cannot_be_raced_is_refused():
    table = Table(flat(0, 0, 0))
    with pytest.raises(UserError, match="between the two ends"):
        race(table, table.ends, (0.0, 1.0), metric="loss", threshold=0.1)
    broken = Evaluation(np.full(1000, np.nan), np.zeros(1000, bool))
    with pytest.raises(UserError, match="not finite"):
        race(table, (broken, table.ends[1]), TS, metric="loss", threshold=0.1)
    with pytest.raises(UserError, match="0 decisions"):
        audit([], [], threshold=0.1)


def test_audit_by_hand():
    yes = Decision("connected", 0.5, (0, 0.1), {0.5: 20}, examples=20, full=100)
    no = Decision("not connected", 0.5, (0.2, 1), {0.5: 10}, examples=10, full=100)
    assert audit([yes, no], [0.1, 0.2], threshold=0.1) == (1, 200 / 30)
    assert audit([yes, no, no], [0.2, 0.2, np.nan], threshold=0.1) == (1 / 3, 300 / 40)
    assert audit([yes], [0.0], threshold=0.1, shared=20) == (1, 120 / 40)


@pytest.mark.parametrize("metric", ["loss", "error"])
def test_networks_get_the_verdict_of_the_engine(metric, data, calibration, examples):
    net = trained("resnet", 0, data)
    states = [flatten(copy.deepcopy(n.state_dict())) for n in (net, trained("resnet", 1, data))]
    engine = Engine(net)
    measure = {"loss": lambda e: e.losses, "error": lambda e: ~e.correct}[metric]

    def visit(controls):
        def at(t):
            combine(controls, (1 - t, t), out=engine.flat.vector)
            function = engine.settle("reset", calibration)
            return lambda part: evaluate(function, Resident(*(rows[part] for rows in examples)))

        return at

    def curve(controls):
        points = [(1 - t, t) for t in TS]
        found = engine.along(controls, points, {"reset": calibration}, {"set": examples})
        means = [measure(e).mean(dtype=np.float64) for e in found["reset", "set"]]
        return found["reset", "set"], barrier_linear(TS, means)

    _, apart = curve(states)
    assert apart > 0.01
    threshold, verdicts = apart / 2, set()  # how far training takes two nets depends on the CPU
    for controls in ([states[0], states[0]], states):
        evaluations, barrier = curve(controls)
        ends = evaluations[0], evaluations[-1]
        found = race(visit(controls), ends, TS, metric=metric, threshold=threshold, overhead=512)
        assert audit([found], [barrier], threshold=threshold).agreement == 1
        verdicts.add(found.verdict)
    assert verdicts == {"connected", "not connected"}
