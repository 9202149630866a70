"""Racing compared with the full grid: forward passes needed for the same verdicts.

Ten networks with BatchNorm in two families of five: forks of one run, early in it (some barriers
are near the threshold) or half-way (none is); families are unrelated. Thresholds, alpha and clip
were fixed before any measurement.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from basins import seeds
from basins.data import shapes
from basins.data.images import Evaluation
from basins.data.resident import BATCH, Resident, resident
from basins.errors import UserError
from basins.landscape.barriers import barrier_linear
from basins.nets import resnet
from basins.nets.permutation import Net
from basins.paths.engine import Engine, combine
from basins.paths.evaluation import evaluate
from basins.paths.pairs import grid
from basins.paths.racing import Decision, Metric, race
from basins.training.scratch import train
from basins.weights import flatten
from benchmarks.harness import Row, quantity

TS = grid(11)
INNER = [(1 - t, t) for t in TS[1:-1]]
THRESHOLDS: dict[Metric, float] = {"error": 0.05, "loss": 0.05}  # a share, nats
AGREEMENT = 0.99
TRAIN, TEST, CALIBRATION, SIDE = 3000, 5000, 512, 12
FORKS, EPOCHS, FORKED_AFTER = 5, 10, (1, 5)
ORDERS = 2  # random orders of the examples in each repetition


class Audit(NamedTuple):
    """The share of races that agree with the full grid, and its examples divided by theirs."""

    agreement: float
    saving: float


def audit(
    decisions: Sequence[Decision], barriers: ArrayLike, *, threshold: float, shared: int = 0
) -> Audit:
    """Compare races with `barrier_linear` [n] of the same paths on the full grid.

    `shared` counts the examples that both evaluate: the endpoints, each once. Raises `UserError`
    unless there is one barrier for each decision, and at least one.
    """
    barriers = np.asarray(barriers, np.float64)
    if not decisions or barriers.shape != (len(decisions),):
        raise UserError(f"audit: {len(decisions)} decisions and barriers {list(barriers.shape)}")
    finite = np.where(barriers <= threshold, "connected", "not connected")
    expected = np.where(np.isnan(barriers), "undefined", finite)
    taken = shared + sum(decision.examples for decision in decisions)
    full = shared + sum(decision.full for decision in decisions)
    agreed = expected == [decision.verdict for decision in decisions]
    return Audit(float(agreed.mean()), full / taken)


def measure(repetitions: int) -> Iterator[Row]:
    """Yield the saving at equal verdicts for error and for loss.

    Every example evaluated counts: the endpoints, shared by all pairs and evaluated in full by both
    sides, and BatchNorm's pass at each point visited. The losses on the full grid are evaluated
    once and replayed in several random orders; the first order evaluates the network itself.
    Raises `UserError` if fewer than `AGREEMENT` of the verdicts agree.
    """
    data = shapes.load(
        source="synthetic",
        root=Path(),
        seed=0,
        train=TRAIN,
        test=TEST,
        size=SIDE,
        noise=0.02,
        smallest=0.5,
        clutter=0,
    )
    cpu = torch.device("cpu")
    train_set, test = resident(data.train, cpu), resident(data.test, cpu)
    calibration = Resident(*(tensor[:CALIBRATION] for tensor in train_set))
    nets = list(_forks(train_set))
    states = [flatten(net.state_dict()) for net in nets]
    engine = Engine(nets[0])
    points = partial(_points, engine, calibration=calibration, test=test)
    ends = [points([state], [(1.0,)])[0] for state in states]
    pairs = list(combinations(range(len(states)), 2))
    start = time.perf_counter()
    curves = [points([states[i], states[j]], INNER) for i, j in pairs]
    grid_seconds = time.perf_counter() - start

    for metric, threshold in THRESHOLDS.items():
        racing = partial(
            race,
            ts=TS,
            metric=metric,
            threshold=threshold,
            batch=BATCH["cpu"],
            overhead=CALIBRATION,
        )
        barriers = [
            float(barrier_linear(TS, _means([ends[i], *curve, ends[j]], metric)))
            for (i, j), curve in zip(pairs, curves, strict=True)
        ]
        start = time.perf_counter()
        live = []
        for i, j in pairs:
            visit = partial(_visit, engine, [states[i], states[j]], calibration, test)
            live.append(racing(visit, (ends[i], ends[j])))
        race_seconds = time.perf_counter() - start
        decisions = [live]
        for order in range(1, ORDERS * repetitions):
            rows = seeds.generator("order", order).permutation(TEST)
            decisions.append(
                [
                    racing(
                        partial(_replay, dict(zip(TS[1:-1], curve, strict=True)), rows),
                        (_rows(ends[i], rows), _rows(ends[j], rows)),
                    )
                    for (i, j), curve in zip(pairs, curves, strict=True)
                ]
            )
        shared = len(states) * (TEST + CALIBRATION)
        audits = [audit(d, barriers, threshold=threshold, shared=shared) for d in decisions]
        agreement = float(np.mean([found.agreement for found in audits]))
        if agreement < AGREEMENT:
            raise UserError(f"racing, {metric}: {agreement:.4f} of verdicts agree, not {AGREEMENT}")
        yield quantity(
            f"racing: forward examples saved, same verdicts on {metric}",
            "x",
            np.array([found.saving for found in audits]),
            must=4,
            aim=10,
            agreement=agreement,
            decisions=len(decisions) * len(pairs),
            by_verdict=_by_verdict([decision for found in decisions for decision in found]),
            near=sum(abs(barrier - threshold) < 0.01 for barrier in barriers),
            pairs=len(pairs),
            sizes={"points": len(TS), "examples": TEST, "calibration": CALIBRATION},
            grid_seconds=grid_seconds,
            race_seconds=race_seconds,
        )


def _forks(data: Resident) -> Iterator[Net]:
    options = {"batch_size": 64, "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
    for family, epochs in enumerate(FORKED_AFTER):
        with seeds.torch_stream("init", family):
            trunk = resnet.build((SIDE, SIDE, 3), 10, depth=8, width=8)
        order = seeds.torch_generator("order", family)
        list(train(trunk, data, order, epochs=epochs, schedule="one_cycle", **options))
        for fork in range(FORKS):
            net, order = copy.deepcopy(trunk), seeds.torch_generator("order", family, fork)
            list(train(net, data, order, epochs=EPOCHS - epochs, schedule="one_cycle", **options))
            yield net


def _points(
    engine: Engine,
    controls: Sequence[Tensor],
    points: Sequence[tuple[float, ...]],
    calibration: Resident,
    test: Resident,
) -> Sequence[Evaluation]:
    found = engine.along(controls, points, {"reset": calibration}, {"test": test})
    return found["reset", "test"]


def _visit(
    engine: Engine, controls: Sequence[Tensor], calibration: Resident, test: Resident, t: float
):
    combine(controls, (1 - t, t), out=engine.flat.vector)
    net = engine.settle("reset", calibration)
    return lambda part: evaluate(net, Resident(test.images[part], test.labels[part]))


def _replay(curve: dict[float, Evaluation], rows: np.ndarray, t: float):
    return partial(_rows, _rows(curve[t], rows))


def _rows(evaluation: Evaluation, rows: np.ndarray | slice) -> Evaluation:
    return Evaluation(evaluation.losses[rows], evaluation.correct[rows])


def _means(evaluations: Sequence[Evaluation], metric: Metric) -> list[float]:
    if metric == "loss":
        return [e.losses.mean(dtype=np.float64) for e in evaluations]
    return [(~e.correct).mean() for e in evaluations]


def _by_verdict(decisions: Sequence[Decision]) -> dict[str, dict[str, float]]:
    """Return the number of decisions by verdict, and the saving between the endpoints."""
    found = {}
    for verdict in ("connected", "not connected"):
        those = [decision for decision in decisions if decision.verdict == verdict]
        saving = sum(d.full for d in those) / sum(d.examples for d in those)
        found[verdict] = {"decisions": len(those), "saving": saving}
    return found
