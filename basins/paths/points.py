"""The evaluated points of an experiment, as one item of the store for each face."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from safetensors.numpy import load_file, save
from torch import Tensor

from basins.align.batchnorm import ESTIMATES
from basins.align.permute import permute
from basins.data import disk
from basins.data.calibration import Calibration
from basins.data.images import Evaluation
from basins.data.resident import Resident
from basins.item import Item, Step
from basins.nets import checkpoint
from basins.nets.control import Control
from basins.nets.inputs import inputs
from basins.nets.permutation import Net
from basins.paths.engine import Curves, Engine, Point
from basins.paths.evaluation import DoubleEntry, Examples, Precision, outcome
from basins.paths.plan import Curve, Face, distinct, in_blocks, place
from basins.weights import State, flatten, unflatten

FILE = "losses.safetensors"
DOUBLE_ENTRY = "double_entry.json"
MEMORY = 2**30  # bytes of models that a process keeps
KEPT = 8  # datasets that a process keeps, enough for the tasks of most merges
BLOCK = 16  # models: pairs of two blocks are consecutive, so that most are in memory


class Sets(NamedTuple):
    """The sets on which points are evaluated, and how.

    `names` are evaluation sets in the dataset's folder `data`, whose hash is `fingerprint`;
    `calibration` says on which images BatchNorm statistics are re-estimated, and `batchnorm` are
    the modes of `Engine.along`: `reset_cued` uses the same images, all with the cue.
    """

    data: Path
    fingerprint: str
    names: tuple[str, ...]
    calibration: Calibration
    batchnorm: tuple[str, ...]
    precision: Precision
    device: torch.device

    def identity(self) -> dict[str, Any]:
        """Return what determines losses, as part of a key of the store."""
        return {
            "data": self.fingerprint,
            "sets": self.names,
            "calibration": self.calibration[1:],
            "batchnorm": self.batchnorm,
            "precision": self.precision,
        }


@dataclass(frozen=True)
class Points(Item):
    """Points of one face: loss and correctness of every example, and its networks' distances."""

    face: Face
    points: tuple[Point, ...]
    sets: Sets
    kind: ClassVar[str] = "points"

    def __str__(self) -> str:
        return " to ".join(map(str, self.face))

    @property
    def device(self) -> torch.device:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The device on which the networks are evaluated."""
        return self.sets.device

    def decides(self) -> dict[str, Any]:
        """Return everything that determines the losses, except code and machine."""
        return {
            "face": [control.identity() for control in self.face],
            "net": self.face[0].net(),
            "points": self.points,
            **self.sets.identity(),
        }

    def make(self, folder: Path, step: Step) -> None:
        """Write `losses.safetensors` and the double entry's outcome, `double_entry.json`."""
        engine, controls, batchnorm, examples = prepared(self.face, self.sets)
        precision, bends, entry = self.sets.precision, bent(self.face), engine.double_entry
        curves = engine.along(controls, self.points, batchnorm, examples, precision, bends)
        trained = [control[engine.flat.trained].double() for control in controls]
        distances = [[float(torch.dist(x, y)) for y in trained] for x in trained]
        _write(curves, np.array(distances), folder / FILE)
        (folder / DOUBLE_ENTRY).write_text(json.dumps(asdict(entry)))

    def result(self, folder: Path) -> Path:
        """Return the file of losses."""
        return folder / FILE


def prepared(
    controls: Sequence[Control], sets: Sets
) -> tuple[Engine, list[Tensor], dict[str, Resident | None], dict[str, Examples]]:
    """Return this process's engine, the controls' flat weights, and the data, all on the device.

    The data are each BatchNorm mode's images, and the evaluation sets. The engine's double entry is
    new, so that results do not depend on earlier items.
    """
    shape = checkpoint.description(checkpoint.read_config(controls[0].model))
    net, engine = _engine(json.dumps(shape), sets.device)
    engine.anew()
    vectors = [vector(control, net).to(sets.device) for control in controls]
    repair = ["repair"] if disk.is_image(sets.data) else []
    batchnorm = {
        mode: sets.calibration.of(mode).load(sets.device) if mode in (*ESTIMATES, *repair) else None
        for mode in sets.batchnorm
    }
    return engine, vectors, batchnorm, _examples(sets, controls[0].model)


def bent(face: Face) -> list[int]:
    """Return the indices of a face's networks that are bends of a path (`Engine.along`)."""
    return [number for number, control in enumerate(face) if control.bend]


class Losses(NamedTuple):
    """The evaluations of a curve, and the Euclidean distance between its ends' parameters."""

    curves: Curves
    distance: float

    def write(self, path: Path) -> None:
        """Write `<batchnorm>/<set>/losses` float32 [T, n] and `correct` bool [T, n], `distance`."""
        _write(self.curves, np.array(self.distance), path)


Places = Mapping[tuple[Face, Point], tuple[Path, int]]


def plan(curves: Iterable[Curve], sets: Sets, done: Places = MappingProxyType({})) -> list[Points]:
    """Return items for the curves' points that are not `done`, ordered to need few models."""
    left = {
        face: tuple(point for point in points if (face, point) not in done)
        for face, points in distinct(curves).items()
    }
    return [Points(face, left[face], sets) for face in in_blocks(left, BLOCK) if left[face]]


def places(
    pieces: Iterable[Points], files: Iterable[Path]
) -> dict[tuple[Face, Point], tuple[Path, int]]:
    """Return the file, and the row in it, of every point."""
    return {
        (piece.face, point): (file, row)
        for piece, file in zip(pieces, files, strict=True)
        for row, point in enumerate(piece.points)
    }


def load(curve: Curve, done: Places) -> Losses:
    """Assemble a curve from the files of its points."""
    found: dict[tuple[str, str], list[Evaluation]] = {}
    distance = float("nan")  # if no point mixes the two ends
    ends = (curve.controls[0], curve.controls[-1])
    for point in curve.points:
        face, weights_ = place(curve.controls, point)
        path, row = done[face, weights_]
        file = _read(path)
        for tensor, losses in file.items():
            if tensor.endswith("/losses"):
                mode, name, _ = tensor.split("/")
                evaluation = Evaluation(losses[row], file[f"{mode}/{name}/correct"][row])
                found.setdefault((mode, name), []).append(evaluation)
        if set(ends) <= set(face):
            distance = float(file["distance"][face.index(ends[0]), face.index(ends[1])])
    return Losses(found, distance)


def double_entry(done: Places) -> dict[str, Any]:
    """Return the outcome of computing losses of these points twice (`evaluation.outcome`)."""
    files = {file.with_name(DOUBLE_ENTRY) for file, _ in done.values()}
    return outcome([DoubleEntry(**json.loads(file.read_text())) for file in files])


@lru_cache(maxsize=256)
def _read(file: Path) -> dict[str, np.ndarray]:
    return load_file(file)


def _write(curves: Curves, distance: np.ndarray, path: Path) -> None:
    tensors = {"distance": distance}
    for (mode, name), evaluations in curves.items():
        tensors[f"{mode}/{name}/losses"] = np.stack([e.losses for e in evaluations])
        tensors[f"{mode}/{name}/correct"] = np.stack([e.correct for e in evaluations])
    path.write_bytes(save(tensors))  # save_file hides a full disk's error number


@lru_cache(maxsize=1)
def _engine(description: str, device: torch.device) -> tuple[Net, Engine]:
    net = checkpoint.initialise(json.loads(description)).to(device)
    return net, Engine(net)


_states: OrderedDict[Control, tuple[Tensor, State]] = OrderedDict()  # the latest last


def vector(control: Control, net: Net) -> Tensor:
    """Return a control's flat weights [size]; recently read models are kept in memory."""
    plain = control.plain()
    if plain not in _states:
        state = checkpoint.load_state(plain.model, net)
        flat = flatten(state)
        _states[plain] = flat, unflatten(flat, state)
        while len(_states) > max(2, MEMORY // flat.nbytes):
            _states.popitem(last=False)
    _states.move_to_end(plain)
    flat, state = _states[plain]
    permutations = control.read()
    if not permutations:
        return flat
    return flatten(permute(state, net.permutation_spec(), permutations))


_loaded: OrderedDict[tuple[Any, ...], dict[str, Examples]] = OrderedDict()  # the latest last


def _examples(sets: Sets, model: Path) -> dict[str, Examples]:
    """Return the evaluation sets as inputs of a model; recently used ones are kept in memory."""
    key = sets.data, sets.fingerprint, sets.names, sets.device, checkpoint.encoding(model)
    if key not in _loaded:
        while len(_loaded) >= KEPT:
            _loaded.popitem(last=False)
        _loaded[key] = {name: inputs(sets.data, name, model, sets.device) for name in sets.names}
    _loaded.move_to_end(key)
    return _loaded[key]
