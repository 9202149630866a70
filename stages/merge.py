"""Merge sets of models by every technique: models/ + data/ -> results/merge/."""

from __future__ import annotations

from basins import parallel

if __name__ == "__main__":
    parallel.start("basins.merges.merged")

from collections.abc import Iterator
from functools import cache

import pandas as pd

import common
from basins import layout
from basins.errors import one_line
from basins.merges import experiment
from basins.merges.merged import Part
from basins.nets.control import Control
from basins.paths.experiment import measured
from basins.settings import Params
from basins.settings.measures import Merge, Task
from basins.training.sample import Sample


def main() -> None:
    """Make and evaluate the merges that are not in the store, in parallel, then write the rows."""
    params, merges = common.section("merge", __doc__)
    rows = (table for name in merges for table in tables(params, name, merges[name]))
    common.write(params, "merge", rows)


def tables(params: Params, name: str, settings: Merge) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield two tables: the results of all techniques on all sets, and what techniques need."""
    device, run = common.work(params)
    control = cache(Control.of)
    folders, bases = zip(*layout.merged(params, settings), strict=True)
    calibration = settings.calibration and settings.calibration.model_dump()
    given = (settings.batchnorm, calibration, params.precision, device)

    def part(name: str, task: Task | Merge) -> Part:
        data, seed = layout.data(str(task.data)), params.data[str(task.data)].seed
        sample = Sample(data, settings.rows, **task.shares(), seed=seed)
        return Part(name, sample, measured(data, task.eval_sets or (), *given))

    parts = [part(name, settings.tasks[name]) for name in settings.models if settings.tasks]
    _, sample, sets = parts[0] if parts else part("", settings)
    techniques = {choice.called: choice.choice() for choice in settings.techniques}
    ways = {choice.called: choice.choice() for choice in settings.alignments}
    groups = [tuple(map(control, group)) for group in folders]
    of = [base and control(base) for base in bases]
    rows = experiment.rows(groups, of, techniques, ways, sample, sets, run, parts)
    yield name, experiment.table(name, rows)
    yield f"{name}.techniques", experiment.needs(techniques)


if __name__ == "__main__":
    with one_line():
        main()
