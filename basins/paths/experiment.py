"""An experiment: which models are joined by which curves, and the losses along them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from basins.align import jobs as alignments
from basins.align.jobs import Control
from basins.nets import checkpoint
from basins.paths import jobs
from basins.paths.engine import Precision
from basins.paths.pairs import pairs
from basins.paths.plan import Curve, place

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


class Experiment:
    """Pairs of models, aligned in every way and joined by every path, on one group of sets."""

    def __init__(
        self,
        starts: Sequence[Path],
        ends: Sequence[Path],
        which: Literal["all", "between"],
        paths: Choices,
        alignments_: Choices,
        sets: jobs.Sets,
        precision: Precision | Literal["auto"],
        run: Run,
    ) -> None:
        """Choose a precision and align the pairs.

        `starts` and `ends` are folders of models, `run` does jobs and returns their results, and
        precision `auto` lets a trial decide, whatever `sets` says.
        """
        self.run, self.paths = run, paths
        left, right = (
            [Control(folder, checkpoint.fingerprint(folder)) for folder in folders]
            for folders in (starts, ends)
        )
        self.pairs = pairs(left, right, which)
        if precision == "auto":
            trial = jobs.Piece(self.pairs[0], (), sets)
            [precision] = run(jobs.measure_precision, [trial], title="precision")
        self.sets = sets._replace(precision=precision)
        self.ends = {label: self._aligned(label, choice) for label, choice in alignments_.items()}
        self.done: jobs.Places = {}

    @property
    def joined(self) -> list[Joined]:
        """Every curve of the experiment."""
        return [
            Joined(a, b, path, alignment)
            for alignment in self.ends
            for path in self.paths
            for a, b in self.pairs
        ]

    def curve(self, joined: Joined, ts: Grid) -> Curve:
        """Return the points of one curve."""
        ends = self.ends[joined.alignment][joined.model_a, joined.model_b]
        return Curve.along(self.paths[joined.path], ends, ts)

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

    def _aligned(
        self, label: str, choice: dict[str, Any]
    ) -> dict[alignments.Pair, alignments.Pair]:
        sets = self.sets
        work = alignments.plan(self.pairs, choice, sets.calibration, sets.fingerprint, sets.device)
        files = self.run(alignments.run, work, title=label) if work else []
        return {pair: pair for pair in self.pairs} | alignments.aligned(work, files)
