"""The pieces of an experiment as jobs: each end once, and the interior of each pair's path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.numpy import load_file, save

from basins import devices, seeds
from basins.align.permute import permute
from basins.data import disk
from basins.data.calibration import stratified
from basins.data.cued import with_cue
from basins.data.images import Evaluation
from basins.data.resident import Resident, resident
from basins.nets import checkpoint
from basins.nets.permutation import Net
from basins.paths.engine import Coefficients, Curves, along
from basins.registry import find, split_options
from basins.store import Store, code_hash
from basins.weights import State, flatten


class Sets(NamedTuple):
    """What every point is measured on; hashable, so that a process loads it once.

    `names` are the evaluation sets in the dataset's folder `data`. `calibration` counts the
    training images that BatchNorm statistics are re-estimated on, `cue_proportion` of which carry
    the cue; `cue` holds the items of its name and options.
    """

    data: Path
    names: tuple[str, ...]
    cue: tuple[tuple[str, Any], ...]
    cue_proportion: float
    calibration: int
    device: torch.device


class Between(NamedTuple):
    """How two models are joined: path and alignment, each a name with its options."""

    path: dict[str, Any]
    alignment: dict[str, Any]


@dataclass(frozen=True)
class Piece:
    """Points to evaluate: one model as it is, or the points `ts` between two.

    `inputs` holds the hashes of the data and of every model; `batchnorm` is as in `engine.along`.
    """

    models: tuple[Path, ...]
    ts: tuple[float, ...]
    between: Between | None
    batchnorm: tuple[str, ...]
    sets: Sets
    inputs: tuple[str, ...]

    def __str__(self) -> str:
        return " to ".join(f"{model.parent.name}/{model.name}" for model in self.models)

    def key(self) -> dict[str, Any]:
        """Return everything that decides the losses, as the store's key."""
        rooms = [
            "paths.engine",
            "data.calibration",
            "data.cued",
            f"data.cues.{dict(self.sets.cue)['name']}",
            f"nets.{checkpoint.read_config(self.models[0])['net']['name']}",
        ]
        if self.between:
            rooms += [f"paths.{self.between.path['name']}"]
            rooms += [f"align.{self.between.alignment['name']}"]
        return {
            "inputs": self.inputs,
            "ts": self.ts,
            "between": self.between,
            "batchnorm": self.batchnorm,
            "sets": [*self.sets[1:5]],
            "code": code_hash(__file__, *(f"basins.{room}" for room in rooms)),
            **devices.identity(self.sets.device),
        }


def plan(
    models: Path,
    joined: Sequence[tuple[str, str]],
    ts: Sequence[float],
    between: Between,
    batchnorm: Sequence[str],
    sets: Sets,
    hashes: dict[str, str],
) -> dict[tuple[str, ...], Piece]:
    """Return the distinct pieces: every model of `joined` once, and each pair's interior points.

    `hashes` holds the hash of every model's weights, and of the dataset under `data`.
    """

    def piece(names: tuple[str, ...], ts: Sequence[float], between: Between | None) -> Piece:
        return Piece(
            models=tuple(models / name for name in names),
            ts=tuple(ts),
            between=between,
            batchnorm=tuple(batchnorm),
            sets=sets,
            inputs=(hashes["data"], *(hashes[name] for name in names)),
        )

    ends = dict.fromkeys(model for pair in joined for model in pair)
    pieces = {(model,): piece((model,), ts[:1], None) for model in ends}
    return pieces | {pair: piece(pair, ts[1:-1], between) for pair in joined}


def run(piece: Piece, step: Callable[[], None]) -> Path:
    """Return the store's file of the piece: losses and hits of every example, and the distance.

    A piece takes seconds: it is one step, which its end tells.
    """
    store, key = Store(), piece.key()
    if not store.find("paths", key):
        device = piece.sets.device
        calibration, sets = _resident(piece.sets)
        net = checkpoint.load(piece.models[0])
        states = _states(piece, net)
        weights = [flatten({n: s[n] for n, _ in net.named_parameters()}) for s in states]
        curves = along(
            net.to(device),
            [flatten(state).to(device) for state in states],
            _coefficients(piece),
            piece.ts,
            piece.batchnorm,
            calibration,
            sets,
        )
        with store.making("paths", key) as folder:
            distance = float(torch.dist(weights[0].double(), weights[-1].double()))
            save_curves(curves, distance, folder / "losses.safetensors")
    return store.folder("paths", key) / "losses.safetensors"


def save_curves(curves: Curves, distance: float, path: Path) -> None:
    """Write `<batchnorm>/<set>/losses` float32 [T, n], `.../correct` bool [T, n], and `distance`.

    `distance` is the Euclidean one between the parameters of the two ends as they are joined.
    """
    tensors = {"distance": np.array([distance])}
    for (batchnorm, name), evaluations in curves.items():
        tensors[f"{batchnorm}/{name}/losses"] = np.stack([e.losses for e in evaluations])
        tensors[f"{batchnorm}/{name}/correct"] = np.stack([e.correct for e in evaluations])
    path.write_bytes(save(tensors))  # save_file hides a full disk's error number


def load_curves(*paths: Path) -> tuple[Curves, float]:
    """Read what `save_curves` wrote, the points of all files one after the other.

    The distance is the largest one: that of the file of a pair, since an end's own is 0.
    """
    files = [load_file(path) for path in paths]
    curves = {}
    for tensor in files[0]:
        batchnorm, _, rest = tensor.partition("/")
        name, _, what = rest.partition("/")
        if what == "losses":
            points = [
                Evaluation(losses, correct)
                for file in files
                for losses, correct in zip(
                    file[tensor], file[f"{batchnorm}/{name}/correct"], strict=True
                )
            ]
            curves[batchnorm, name] = points
    return curves, float(max(file["distance"][0] for file in files))


def _states(piece: Piece, net: Net) -> list[State]:
    """Return the states of the piece's models, the second one aligned to the first."""
    reference = net.state_dict()
    if piece.between is None:
        return [reference]
    moving = checkpoint.load(piece.models[1]).state_dict()
    spec = net.permutation_spec()
    name, options = split_options(piece.between.alignment)
    generator = seeds.generator("alignment", *piece.inputs)
    align = find("align", name, "align")
    return [
        reference,
        permute(moving, spec, align(reference, moving, spec, generator=generator, **options)),
    ]


def _coefficients(piece: Piece) -> Coefficients:
    if piece.between is None:
        return lambda t: (1.0,)
    name, options = split_options(piece.between.path)
    return partial(find("paths", name, "coefficients"), **options)


@cache
def _resident(sets: Sets) -> tuple[Resident, dict[str, Resident]]:
    """Return the calibration images and the evaluation sets, on the device."""
    classes = disk.class_names(sets.data)
    train = disk.read(sets.data, "train")
    cued = with_cue(train, len(classes), dict(sets.cue), sets.cue_proportion)
    calibration = stratified(cued, sets.calibration, seeds.derive("calibration") % 2**32)
    return resident(calibration, sets.device), {
        name: resident(disk.read(sets.data, name), sets.device) for name in sets.names
    }
