"""The faces of an experiment as jobs: found in the store, or evaluated and put there."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.numpy import load_file, save
from torch import Tensor

from basins import devices
from basins.align.batchnorm import ESTIMATES
from basins.align.jobs import Control
from basins.align.permute import permute
from basins.data.calibration import Calibration
from basins.data.images import Evaluation
from basins.data.resident import Resident
from basins.nets import checkpoint
from basins.nets.inputs import inputs
from basins.nets.permutation import Net
from basins.paths import precision
from basins.paths.engine import Curves, Engine, Examples, Point, Precision
from basins.paths.plan import Curve, Face, distinct, in_blocks, place
from basins.store import Store, code_hash
from basins.weights import State, flatten, unflatten

MEMORY = 2**30  # bytes of models that a process keeps
BLOCK = 16  # models: the pairs of two blocks come together, so that most are in memory


class Sets(NamedTuple):
    """What every point is measured on, and how; hashable, so that a process loads it once.

    `names` are evaluation sets in the dataset's folder `data`, whose hash is `fingerprint`;
    `calibration` is what BatchNorm statistics are re-estimated on, and `batchnorm` the modes of
    `Engine.along`: `reset_cued` takes the same images with the cue on all of them.
    """

    data: Path
    fingerprint: str
    names: tuple[str, ...]
    calibration: Calibration
    batchnorm: tuple[str, ...]
    precision: Precision
    device: torch.device


@dataclass(frozen=True)
class Piece:
    """All points of one face."""

    face: Face
    points: tuple[Point, ...]
    sets: Sets

    def __str__(self) -> str:
        return " to ".join(map(str, self.face))

    def key(self) -> dict[str, Any]:
        """Return everything that decides the losses, as the store's key."""
        net = checkpoint.family(checkpoint.read_config(self.face[0].model))
        rooms = ["paths.engine", "align.permute", "data.calibration", "nets.inputs", f"nets.{net}"]
        return {
            "face": [control.identity() for control in self.face],
            "points": self.points,
            "data": self.sets.fingerprint,
            "sets": self.sets.names,
            "calibration": self.sets.calibration[1:],
            "batchnorm": self.sets.batchnorm,
            "precision": self.sets.precision,
            "code": code_hash(__file__, *(f"basins.{room}" for room in rooms)),
            **devices.identity(self.sets.device),
        }


def run(piece: Piece, step: Callable[[], None]) -> Path:
    """Return the store's file of the piece: losses and hits of every example, and the distances.

    A piece takes seconds: it is one step, which its end tells.
    """
    store, key = Store(), piece.key()
    if not store.find("points", key):
        sets = piece.sets
        engine, controls, batchnorm, examples = prepared(piece.face, sets)
        curves = engine.along(controls, piece.points, batchnorm, examples, sets.precision)
        trained = [control[engine.flat.trained].double() for control in controls]
        distances = [[float(torch.dist(x, y)) for y in trained] for x in trained]
        with store.making("points", key) as folder:
            _write(curves, np.array(distances), folder / "losses.safetensors")
    return store.folder("points", key) / "losses.safetensors"


def prepared(
    controls: Sequence[Control], sets: Sets
) -> tuple[Engine, list[Tensor], dict[str, Resident | None], dict[str, Examples]]:
    """Return this process's engine, the controls' flat weights, and the data, all on the device.

    The data are what each BatchNorm mode takes its statistics from, and the evaluation sets.
    """
    shape = checkpoint.description(checkpoint.read_config(controls[0].model))
    net, engine = _engine(json.dumps(shape), sets.device)
    vectors = [vector(control, net).to(sets.device) for control in controls]
    sources = dict.fromkeys(ESTIMATES, sets.calibration)
    sources["reset_cued"] = sets.calibration._replace(cue_proportion=1.0)
    batchnorm = {
        mode: sources[mode].load(sets.device) if mode in sources else None
        for mode in sets.batchnorm
    }
    return engine, vectors, batchnorm, _examples(sets, controls[0].model)


def measure_precision(piece: Piece, step: Callable[[], None]) -> Precision:
    """Return which precision to evaluate the experiment of an edge in, as it was once measured."""
    store, sets = Store(), piece.sets
    key = piece.key() | {"trial": code_hash(precision.__file__)}
    if not store.find("precision", key):
        trial = precision.trial(*prepared(piece.face, sets))
        with store.making("precision", key) as folder:
            content = trial._asdict() | {"precision": trial.precision}
            (folder / "trial.json").write_text(json.dumps(content))
    return json.loads((store.folder("precision", key) / "trial.json").read_text())["precision"]


class Losses(NamedTuple):
    """The evaluations of a curve, and the Euclidean distance between its ends' parameters."""

    curves: Curves
    distance: float

    def write(self, path: Path) -> None:
        """Write `<batchnorm>/<set>/losses` float32 [T, n] and `correct` bool [T, n], `distance`."""
        _write(self.curves, np.array(self.distance), path)


Places = Mapping[tuple[Face, Point], tuple[Path, int]]


def plan(curves: Iterable[Curve], sets: Sets, done: Places = MappingProxyType({})) -> list[Piece]:
    """Return what is left to evaluate for the curves, each point once, in blocks of few models."""
    left = {
        face: tuple(point for point in points if (face, point) not in done)
        for face, points in distinct(curves).items()
    }
    return [Piece(face, left[face], sets) for face in in_blocks(left, BLOCK) if left[face]]


def places(
    pieces: Iterable[Piece], files: Iterable[Path]
) -> dict[tuple[Face, Point], tuple[Path, int]]:
    """Return in which file, and which row of it, every point is."""
    return {
        (piece.face, point): (file, row)
        for piece, file in zip(pieces, files, strict=True)
        for row, point in enumerate(piece.points)
    }


def load(curve: Curve, done: Places) -> Losses:
    """Put a curve together again from the files of its points."""
    found: dict[tuple[str, str], list[Evaluation]] = {}
    distance = float("nan")  # where no point mixes the two ends
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
    """Return a control's flat weights [size], its model read unless it was lately."""
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


_loaded: dict[Sets, dict[str, Examples]] = {}


def _examples(sets: Sets, model: Path) -> dict[str, Examples]:
    """Return the evaluation sets, for all networks of an experiment as they are for this one."""
    if sets not in _loaded:
        _loaded[sets] = {name: inputs(sets.data, name, model, sets.device) for name in sets.names}
    return _loaded[sets]
