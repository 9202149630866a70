"""Merge sets of models by every technique: models/ + data/ -> results/merge/."""

from __future__ import annotations

from basins import parallel

if __name__ == "__main__":
    parallel.start("basins.merges.merged")

from functools import cache

import pandas as pd

import common
from basins import layout, results
from basins.errors import one_line
from basins.merges import experiment
from basins.merges.merged import Part
from basins.merges.traits import traits
from basins.nets.control import Control
from basins.paths.experiment import measured
from basins.settings import Merge, Params, Task
from basins.store import whole_folder
from basins.training.sample import Sample


def main() -> None:
    """Merge and evaluate what the store does not hold yet, in parallel, then write the rows."""
    params, merges = common.section("merge", __doc__)
    with whole_folder(layout.results(params, "merge")) as folder:
        for name, settings in merges.items():
            table = merged(params, settings)
            table.insert(0, "merge", name)
            results.write(table, folder / f"{name}.csv")
            results.write(needs(settings), folder / f"{name}.techniques.csv")


def needs(settings: Merge) -> pd.DataFrame:
    """Return what each technique of an entry is and needs, as its file declares it."""
    return pd.DataFrame(
        {"technique": choice.called, "name": choice.name, **traits(choice.name)._asdict()}
        for choice in settings.techniques
    ).drop(columns="mixes")


def merged(params: Params, settings: Merge) -> pd.DataFrame:
    """Return the rows of every technique on every set of models of one entry."""
    device, run = common.work(params)
    control = cache(Control.of)
    folders, bases = zip(*layout.merged(params, settings), strict=True)
    groups = [tuple(map(control, group)) for group in folders]
    calibration = settings.calibration and settings.calibration.model_dump()
    given = (settings.batchnorm, calibration, params.precision, device)

    def part(name: str, task: Task | Merge) -> Part:
        data, seed = layout.data(str(task.data)), params.data[str(task.data)].seed
        sample = Sample(data, settings.rows, **task.shares(), seed=seed)
        return Part(name, sample, measured(data, task.eval_sets or (), *given))

    parts = [part(name, settings.tasks[name]) for name in settings.models if settings.tasks]
    _, sample, sets = parts[0] if parts else part("", settings)
    rows = experiment.rows(
        groups,
        [base and control(base) for base in bases],
        {technique.called: technique.choice() for technique in settings.techniques},
        {way.called: way.choice() for way in settings.alignments},
        sample,
        sets,
        run,
        parts,
    )
    return pd.DataFrame(rows).reindex(columns=[*experiment.COLUMNS])


if __name__ == "__main__":
    with one_line():
        main()
