"""Races: tests of whether the models at the ends of one curve are connected on one set."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from basins import seeds
from basins.align.batchnorm import cost
from basins.align.repair import writers
from basins.data.images import Evaluation
from basins.data.resident import Resident
from basins.errors import UserError
from basins.item import Item, Step
from basins.paths.evaluation import evaluate
from basins.paths.plan import Curve
from basins.paths.points import Places, Points, Sets, bent, load, prepared
from basins.paths.racing import Decision, race


@dataclass(frozen=True)
class Race(Item):
    """A curve on the grid `ts`, to be decided on the one set and BatchNorm mode of `sets`.

    `ends` has the files of its two ends' evaluations, and `options` are those of `racing.race`.
    """

    curve: Curve
    ts: tuple[float, ...]
    ends: Places
    options: dict[str, Any]
    sets: Sets
    kind: ClassVar[str] = "races"

    def __str__(self) -> str:
        return " to ".join(map(str, self.curve.controls))

    @property
    def device(self) -> torch.device:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The device on which the networks are evaluated."""
        return self.sets.device

    def decides(self) -> dict[str, Any]:
        """Return everything that determines the race, except code and machine."""
        curve = Points(self.curve.controls, self.curve.points, self.sets)
        return {**curve.decides(), "options": self.options}

    def make(self, folder: Path, step: Step) -> None:
        """Write `decision.json`."""
        sets = self.sets
        (mode,), (name,) = sets.batchnorm, sets.names
        engine, controls, batchnorm, examples = prepared(self.curve.controls, sets)
        evaluated = load(ends(self.curve), self.ends).curves[mode, name]
        order = seeds.generator("race", name).permutation(len(evaluated[0].losses))
        first, last = (Evaluation(e.losses[order], e.correct[order]) for e in evaluated)
        rows = torch.from_numpy(order).to(sets.device)
        data = examples[name]
        if not isinstance(data, Resident):
            raise UserError(f"{sets.data}: text; races are run on images alone")
        images, labels = (tensor[rows] for tensor in data)
        points = dict(zip(self.ts, self.curve.points, strict=True))
        settled = engine.mixer(controls, batchnorm, sets.precision, bent(self.curve.controls))

        def visit(t: float) -> Callable[[slice], Evaluation]:
            function = settled(points[t], mode)

            def look(part: slice) -> Evaluation:
                return evaluate(function, Resident(images[part], labels[part]), sets.precision)

            return look

        net: Any = engine.net
        overhead = cost(mode, batchnorm[mode], len(writers(net)) if mode == "repair" else 0)
        options = {"overhead": overhead, **self.options}
        decision = race(visit, (first, last), self.ts, **options)
        (folder / "decision.json").write_text(json.dumps(decision._asdict()))

    def result(self, folder: Path) -> Decision:
        """Return the decision."""
        content = json.loads((folder / "decision.json").read_text())
        content["seen"] = {float(t): count for t, count in content["seen"].items()}
        return Decision(**{**content, "interval": tuple(content["interval"])})


def ends(curve: Curve) -> Curve:
    """Return the curve restricted to its two ends, which races of many curves share."""
    return curve._replace(points=(curve.points[0], curve.points[-1]))
