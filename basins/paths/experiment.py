"""An experiment: which models are joined by which curves, and the losses along them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from basins.align import equivalence
from basins.align import jobs as aligning
from basins.align.jobs import Control, Pair, Protocol
from basins.data.calibration import Calibration
from basins.data.examples import binary
from basins.nets import checkpoint
from basins.paths import fits, jobs
from basins.paths.engine import Precision
from basins.paths.pairs import Which, pairs
from basins.paths.plan import Curve, is_fitted, place
from basins.store import folder_hash

Choices = Mapping[str, dict[str, Any]]  # a name with its options, by label
Grid = tuple[float, ...]
Run = Callable[..., list[Any]]  # parallel.run, but for how many workers


class Joined(NamedTuple):
    """Two models and how they are joined: the labels of path and alignment."""

    model_a: Control
    model_b: Control
    path: str
    alignment: str

    def __str__(self) -> str:
        return f"{self.path}-{self.alignment}-{self.model_a}--{self.model_b}"

    def ids(self) -> dict[str, str]:
        """Return the columns that tell whose row it is."""
        return {name: str(value) for name, value in self._asdict().items()}


def measured(
    data: Path,
    names: Sequence[str],
    batchnorm: Sequence[str] | None,
    calibration: Mapping[str, Any] | None,
    device: torch.device,
) -> jobs.Sets:
    """Return what points are measured on: the sets `names` of the dataset in the folder `data`.

    `batchnorm` are the modes of `Engine.along`; `calibration` has the `cue_proportion` and the
    `size` of what they take statistics from. None is what the code of Mechanistic Mode Connectivity
    does (section 4): a moving average over all training images, without their cue.
    """
    modes = tuple(batchnorm or ["moving"])
    source = Calibration(data, **(calibration or {"cue_proportion": 0.0, "size": None}))
    return jobs.Sets(data, folder_hash(data), tuple(names), source, modes, "fp32", device)


class Experiment:
    """Pairs of models, aligned in every way and joined by every path, on one group of sets."""

    def __init__(
        self,
        starts: Sequence[Path],
        ends: Sequence[Path],
        which: Which,
        *,
        paths: Choices,
        alignments: Choices,
        sets: jobs.Sets,
        protocol: Protocol,
        precision: Precision | Literal["auto"],
        run: Run,
    ) -> None:
        """Choose a precision, align the pairs and fit the paths that have something to fit.

        `starts` and `ends` are folders of models, `run` does jobs and returns their results,
        `protocol` is given to all that has one, and precision `auto` lets a trial decide, whatever
        `sets` says.
        """
        self.run, self.paths = run, paths
        self.protocol: Protocol = protocol
        model = cache(lambda folder: Control(folder, checkpoint.fingerprint(folder)))
        self.pairs = [(model(a), model(b)) for a, b in pairs(starts, ends, which)]
        if precision == "auto":
            trial = jobs.Piece(self.pairs[0], (), sets)
            [precision] = run(jobs.measure_precision, [trial], title="precision")
        self.sets = sets._replace(precision=precision)
        aligned = {label: self._aligned(label, choice) for label, choice in alignments.items()}
        joined = {
            Joined(*pair, path, alignment): aligned[alignment][pair]
            for alignment in aligned
            for path in paths
            for pair in self.pairs
        }
        self.controls: dict[Joined, tuple[Control, ...]] = {**joined, **self._fitted(joined)}
        self.done: jobs.Places = {}

    @property
    def joined(self) -> list[Joined]:
        """Every curve of the experiment."""
        return list(self.controls)

    def binary(self) -> dict[str, np.ndarray | None]:
        """Return, by evaluation set, the labels of a text in two classes, bool [n], or None."""
        return {name: binary(self.sets.data, name) for name in self.sets.names}

    def curve(self, joined: Joined, ts: Grid) -> Curve:
        """Return the points of one curve."""
        return Curve.along(self.paths[joined.path], self.controls[joined], ts)

    def evaluate(self, grids: Mapping[Joined, Grid]) -> None:
        """Evaluate every point on these grids that has not been yet, each once."""
        curves = (self.curve(joined, ts) for joined, ts in grids.items())
        pieces = jobs.plan(curves, self.sets, self.done)
        if pieces:
            files = self.run(jobs.run, pieces, title="points")
            self.done = {**self.done, **jobs.places(pieces, files)}

    def places(self, joined: Joined, ts: Grid) -> jobs.Places:
        """Return where the points of one curve are."""
        curve = self.curve(joined, ts)
        points = [place(curve.controls, point) for point in curve.points]
        return {point: self.done[point] for point in points}

    def losses(self, joined: Joined, ts: Grid) -> jobs.Losses:
        """Return the losses along one curve, all of whose points have been evaluated."""
        return jobs.load(self.curve(joined, ts), self.done)

    def write(self, grids: Mapping[Joined, Grid], folder: Path) -> None:
        """Write the losses along every curve on its grid, each into a file of its own."""
        for joined, ts in grids.items():
            self.losses(joined, ts).write(folder / f"{joined}.safetensors".replace("/", "-"))

    def _aligned(self, label: str, choice: dict[str, Any]) -> dict[Pair, Pair]:
        sets, protocol = self.sets, self.protocol
        work = aligning.plan(
            self.pairs, choice, sets.calibration, sets.fingerprint, protocol, sets.device
        )
        if work:
            equivalence.check(self.pairs[0][0].model)
        files = self.run(aligning.run, work, title=label) if work else []
        return {pair: pair for pair in self.pairs} | aligning.aligned(work, files)

    def _fitted(self, ends: Mapping[Joined, Pair]) -> dict[Joined, tuple[Control, ...]]:
        """Return the control points, in their order, of those curves that have one to be fitted."""
        fitted = {label: path for label, path in self.paths.items() if is_fitted(path)}
        if not fitted:
            return {}
        data, device = self.sets.data, self.sets.device
        rest = (data, fits.fingerprint(data), self.protocol, device)
        work = {
            joined: fits.Job(str(joined), fitted[joined.path], pair, *rest)
            for joined, pair in ends.items()
            if joined.path in fitted
        }
        epochs = max(path["epochs"] for path in fitted.values())
        inner = self.run(fits.run, [*work.values()], title="paths", steps=epochs)
        return {
            joined: (job.ends[0], control, job.ends[1])
            for (joined, job), control in zip(work.items(), inner, strict=True)
        }
