"""Races as jobs: whether the models at the ends of one curve are connected on one set."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from basins import seeds
from basins.align.batchnorm import cost
from basins.data.images import Evaluation
from basins.data.resident import Resident
from basins.errors import UserError
from basins.paths import jobs
from basins.paths.engine import combine, evaluate
from basins.paths.jobs import Places, Sets
from basins.paths.plan import Curve
from basins.paths.racing import Decision, race
from basins.store import Store, code_hash


@dataclass(frozen=True)
class Race:
    """A curve on `ts`, to be decided on the one set and in the one BatchNorm mode of `sets`.

    `ends` says where the evaluations of its two ends are, and `options` are those of `racing.race`.
    """

    curve: Curve
    ts: tuple[float, ...]
    ends: Places
    options: dict[str, Any]
    sets: Sets

    def __str__(self) -> str:
        return " to ".join(map(str, self.curve.controls))


def ends(curve: Curve) -> Curve:
    """Return the two ends of a curve, which races of many curves share."""
    return curve._replace(points=(curve.points[0], curve.points[-1]))


def run(item: Race, step: Callable[[], None]) -> Decision:
    """Return the decision on a curve, from the store or by racing. A race is one step."""
    store, sets = Store(), item.sets
    piece = jobs.Piece(item.curve.controls, item.curve.points, sets)
    key = piece.key() | {"options": item.options, "race": code_hash(__file__)}
    if not store.find("races", key):
        decision = _race(item)
        with store.making("races", key) as folder:
            (folder / "decision.json").write_text(json.dumps(decision._asdict()))
    found = json.loads((store.folder("races", key) / "decision.json").read_text())
    found["seen"] = {float(t): count for t, count in found["seen"].items()}
    return Decision(**{**found, "interval": tuple(found["interval"])})


def _race(item: Race) -> Decision:
    sets = item.sets
    (mode,), (name,) = sets.batchnorm, sets.names
    engine, controls, batchnorm, examples = jobs.prepared(item.curve.controls, sets)
    evaluated = jobs.load(ends(item.curve), item.ends).curves[mode, name]
    order = seeds.generator("race", name).permutation(len(evaluated[0].losses))
    first, last = (Evaluation(e.losses[order], e.correct[order]) for e in evaluated)
    rows = torch.from_numpy(order).to(sets.device)
    data = examples[name]
    if not isinstance(data, Resident):
        raise UserError(f"{sets.data}: text; races are run on images alone")
    images, labels = (tensor[rows] for tensor in data)
    points = dict(zip(item.ts, item.curve.points, strict=True))

    def visit(t: float) -> Callable[[slice], Evaluation]:
        combine(controls, points[t], out=engine.flat.vector)
        function = engine.settle(mode, batchnorm[mode], sets.precision)

        def look(part: slice) -> Evaluation:
            return evaluate(function, Resident(images[part], labels[part]), sets.precision)

        return look

    options = {"overhead": cost(mode, batchnorm[mode]), **item.options}
    return race(visit, (first, last), item.ts, **options)
