"""Merge sets of models by every technique: models/ + data/ -> results/merge/."""

from __future__ import annotations

from basins import parallel

if __name__ == "__main__":
    parallel.start("basins.merges.jobs")

import argparse
from functools import cache, partial
from pathlib import Path

import pandas as pd

from basins import devices, results
from basins.align import equivalence
from basins.align.jobs import Control
from basins.errors import one_line
from basins.merges import jobs
from basins.nets import checkpoint
from basins.params import pick, read
from basins.paths.experiment import measured
from basins.paths.jobs import Piece, measure_precision
from basins.training.sample import Sample


def main() -> None:
    """Merge and evaluate what the store does not hold yet, in parallel, then write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("merge", help="a key of `merge` in params.yaml")
    name = parser.parse_args().merge
    params = read(check=["merge"])
    settings = pick(params.merge, name, "merge")
    device = devices.pick(params.device)
    workers = devices.workers(params.workers, device)
    run = partial(parallel.run, workers=workers, scheduler=params.cluster)

    control = cache(lambda folder: Control(folder, checkpoint.fingerprint(folder)))
    groups, bases = zip(*params.merged(settings), strict=True)
    for folders in groups:
        jobs.check_shapes(folders)
    groups = [tuple(map(control, folders)) for folders in groups]
    bases = [folder and control(folder) for folder in bases]

    data = Path("data") / settings.data
    calibration = settings.calibration and settings.calibration.model_dump()
    sets = measured(data, settings.eval_sets, settings.batchnorm, calibration, device)
    precision = params.precision
    if precision == "auto":
        [precision] = run(measure_precision, [Piece(groups[0][:2], (), sets)], title="precision")
    sets = sets._replace(precision=precision)
    rows = Sample(data, settings.rows, **settings.shares(), seed=params.data[settings.data].seed)

    if any(choice.name != "none" for choice in settings.alignments):
        equivalence.check(groups[0][0].model)
    aligned = {
        choice.called: jobs.align(groups, choice.choice(), sets, run)
        for choice in settings.alignments
    }
    work = [
        (technique.called, alignment, number, jobs.Job(group, base, technique.choice(), rows, sets))
        for technique in settings.techniques
        for alignment in (aligned if jobs.mixes(technique.name) else ["none"])
        for number, (group, base) in enumerate(
            zip(aligned.get(alignment, groups), bases, strict=True)
        )
    ]
    files = run(jobs.run, [job for *_, job in work], title="merges")
    table = pd.DataFrame(
        {"merge": name, "technique": technique, "alignment": alignment, "set": number, **row}
        for (technique, alignment, number, job), file in zip(work, files, strict=True)
        for row in jobs.rows(job, file)
    )
    target = params.reports() / "results" / "merge" / f"{name}.csv"
    results.write(table.reindex(columns=["merge", *jobs.COLUMNS]), target)


if __name__ == "__main__":
    with one_line():
        main()
