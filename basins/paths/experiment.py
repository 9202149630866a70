"""An experiment: pairs of models, the curves that connect them, and the losses along these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from basins.align import alignments, equivalence
from basins.data.calibration import Calibration, Procedure
from basins.data.examples import binary
from basins.item import Run
from basins.nets.control import Control, Pair
from basins.paths import fits, points
from basins.paths.evaluation import Precision
from basins.paths.pairs import Which, along, is_fitted, pairs
from basins.paths.plan import Curve, place
from basins.store import folder_hash

Choices = Mapping[str, dict[str, Any]]  # a name with its options, by label
Grid = tuple[float, ...]


class Joined(NamedTuple):
    """Two models and the labels of the path and alignment that connect them."""

    model_a: Control
    model_b: Control
    path: str
    alignment: str

    def __str__(self) -> str:
        return f"{self.path}-{self.alignment}-{self.model_a}--{self.model_b}"

    def ids(self) -> dict[str, str]:
        """Return the columns that identify the curve in a row."""
        return {name: str(value) for name, value in self._asdict().items()}


def measured(
    data: Path,
    names: Sequence[str],
    batchnorm: Sequence[str] | None,
    calibration: Mapping[str, Any] | None,
    precision: Precision,
    device: torch.device,
) -> points.Sets:
    """Return the sets of a dataset on which points are evaluated.

    Args:
        data: the dataset's folder.
        names: the names of its evaluation sets.
        batchnorm: the modes of `Engine.along`. None means the moving average of the code of
            Mechanistic Mode Connectivity (section 4).
        calibration: the `cue_proportion` and `size` of the images for statistics. None means all
            training images without cue, as in that code.
        precision: of evaluation.
        device: where points are evaluated.
    """
    modes = tuple(batchnorm or ["moving"])
    source = Calibration(data, **(calibration or {"cue_proportion": 0.0, "size": None}))
    return points.Sets(data, folder_hash(data), tuple(names), source, modes, precision, device)


class Experiment:
    """Pairs of models, with every alignment and every path, evaluated on the same sets.

    `controls` has the control points of every curve; `done` the files of evaluated points.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        paths: Choices,
        sets: points.Sets,
        controls: Mapping[Joined, tuple[Control, ...]],
        run: Run,
    ) -> None:
        self.pairs, self.paths, self.sets = pairs, paths, sets
        self.controls, self.run = controls, run
        self.done: points.Places = {}

    @classmethod
    def prepare(
        cls,
        starts: Sequence[Path],
        ends: Sequence[Path],
        which: Which,
        *,
        paths: Choices,
        alignments: Choices,
        sets: points.Sets,
        protocol: Procedure,
        run: Run,
    ) -> Experiment:
        """Align the pairs, and fit the paths that have a trained control point.

        Args:
            starts: folders of models.
            ends: folders of models, possibly the same.
            which: which pairs are joined.
            paths: a name with its options, by label.
            alignments: in the same form.
            sets: the sets on which every point is evaluated.
            protocol: `published`, that of Mechanistic Mode Connectivity's code, or `corrected`.
            run: makes items and returns their results.
        """
        model = cache(Control.of)
        joins = [(model(a), model(b)) for a, b in pairs(starts, ends, which)]
        aligned = {
            label: _aligned(joins, way, sets, protocol, run, label)
            for label, way in alignments.items()
        }
        straight: dict[Joined, Pair] = {
            Joined(*pair, path, alignment): aligned[alignment][pair]
            for alignment in aligned
            for path in paths
            for pair in joins
        }
        fitted = _fitted(straight, paths, sets, protocol, run)
        return cls(joins, paths, sets, {**straight, **fitted}, run)

    @property
    def joined(self) -> list[Joined]:
        """Every curve of the experiment."""
        return list(self.controls)

    def binary(self) -> dict[str, np.ndarray | None]:
        """Return, by evaluation set, the labels of two-class text sets, bool [n], or None."""
        return {name: binary(self.sets.data, name) for name in self.sets.names}

    def curve(self, joined: Joined, ts: Grid) -> Curve:
        """Return the points of one curve."""
        return along(self.paths[joined.path], self.controls[joined], ts)

    def evaluate(self, grids: Mapping[Joined, Grid]) -> None:
        """Evaluate the points on these grids that have not been evaluated yet, each once."""
        curves = (self.curve(joined, ts) for joined, ts in grids.items())
        items = points.plan(curves, self.sets, self.done)
        if items:
            files = self.run(items, title="points")
            self.done = {**self.done, **points.places(items, files)}

    def places(self, joined: Joined, ts: Grid) -> points.Places:
        """Return the files and rows of the points of one curve."""
        whole = self.curve(joined, ts)
        here = [place(whole.controls, point) for point in whole.points]
        return {point: self.done[point] for point in here}

    def losses(self, joined: Joined, ts: Grid) -> points.Losses:
        """Return the losses along one curve, whose points must have been evaluated."""
        return points.load(self.curve(joined, ts), self.done)

    def double_entry(self) -> dict[str, Any]:
        """Return the outcome of computing losses a second time, at all points so far."""
        return points.double_entry(self.done)

    def write(self, grids: Mapping[Joined, Grid], folder: Path) -> None:
        """Write the losses along every curve on its grid, each to its own file."""
        for joined, ts in grids.items():
            self.losses(joined, ts).write(folder / f"{joined}.safetensors".replace("/", "-"))


def _aligned(
    pairs: Sequence[Pair],
    way: dict[str, Any],
    sets: points.Sets,
    protocol: Procedure,
    run: Run,
    title: str,
) -> dict[Pair, Pair]:
    """Return the aligned pair for each original pair."""
    work = alignments.plan(pairs, way, sets.calibration, sets.fingerprint, protocol, sets.device)
    if work:
        equivalence.check(pairs[0][0].model)
    files = run(work, title=title) if work else []
    return {pair: pair for pair in pairs} | alignments.aligned(work, files)


def _fitted(
    ends: Mapping[Joined, Pair], paths: Choices, sets: points.Sets, protocol: Procedure, run: Run
) -> dict[Joined, tuple[Control, ...]]:
    """Return the control points, in order, of the curves with a trained control point."""
    fitted = {label: path for label, path in paths.items() if is_fitted(path)}
    if not fitted:
        return {}
    rest = (sets.data, fits.fingerprint(sets.data), protocol, sets.device)
    work = {
        joined: fits.Fit(str(joined), fitted[joined.path], pair, *rest)
        for joined, pair in ends.items()
        if joined.path in fitted
    }
    inner = run([*work.values()], title="paths")
    return {
        joined: (fit.ends[0], control, fit.ends[1])
        for (joined, fit), control in zip(work.items(), inner, strict=True)
    }
