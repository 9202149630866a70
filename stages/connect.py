"""Evaluate every pair of one experiment: models/ + data/ -> results/connect/ and losses/."""

from __future__ import annotations

from basins import parallel

if __name__ == "__main__":
    parallel.start("basins.paths.experiment", "basins.statistics.curves")

import json

import common
from basins import layout, results
from basins.errors import one_line
from basins.paths.experiment import Experiment, measured
from basins.probes.counterfactual import SETS
from basins.settings import Params, measures
from basins.statistics.curves import evaluated, samples, tables
from basins.store import seal, whole_file, whole_folder


def main() -> None:
    """Evaluate the points that are not in the store, in parallel, then write rows and losses."""
    params, name, settings = common.entry("connect", __doc__)
    experiment = prepare(params, settings)
    grids = evaluated(experiment, settings.model_dump()["points"])
    with whole_folder(layout.LOSSES / name) as folder:
        experiment.write(grids, folder)
        seal(folder)
    points, barriers = tables(experiment, grids, params.statistics.confidence)
    shown = results.read(layout.results(params, "data") / f"{settings.data}.csv")
    with whole_file(layout.results(params, "connect") / f"{name}.json") as file:
        file.write_text(json.dumps({"double_entry": experiment.double_entry()}) + "\n")
    made = {f"connect/{name}": points, f"connect/{name}.barriers": barriers}
    made[f"outcomes/{name}"] = samples(experiment, grids, shown)
    for file, table in made.items():
        table.insert(0, "experiment", name)
        results.write(table, layout.results(params) / f"{file}.csv")


def prepare(params: Params, settings: measures.Experiment) -> Experiment:
    """Return an experiment, its pairs aligned and its paths fitted, ready for evaluation."""
    device, run = common.work(params)
    calibration = settings.calibration and settings.calibration.model_dump()
    given = (settings.batchnorm, calibration, params.precision, device)
    return Experiment.prepare(
        layout.models(params, settings.start),
        layout.models(params, settings.end),
        settings.pairs,
        paths={choice.called: choice.choice() for choice in settings.paths},
        alignments={choice.called: choice.choice() for choice in settings.alignments},
        sets=measured(layout.data(settings.data), settings.eval_sets or SETS, *given),
        protocol=settings.protocol,
        run=run,
    )


if __name__ == "__main__":
    with one_line():
        main()
