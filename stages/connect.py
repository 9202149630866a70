"""Evaluate every pair of one experiment: models/ + data/ -> results/connect/ and losses/."""

from __future__ import annotations

from basins import parallel

if __name__ == "__main__":
    parallel.start("basins.paths.experiment", "basins.statistics.curves")

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from basins import devices, results
from basins.errors import one_line
from basins.params import pick, read
from basins.paths.experiment import Experiment, measured
from basins.probes.counterfactual import SETS
from basins.settings import Experiment as Setting
from basins.settings import Params
from basins.statistics.curves import evaluated, samples, tables
from basins.store import seal, whole_folder


def main() -> None:
    """Evaluate what the store does not hold yet, in parallel, then write rows and losses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", help="a key of `connect` in params.yaml")
    name = parser.parse_args().experiment
    params = read(check=["data", "connect"])
    settings = pick(params.connect, name, "connect")
    experiment = prepare(params, settings, settings.eval_sets or SETS)
    grids = evaluated(experiment, settings.model_dump()["points"])
    with whole_folder(Path("losses") / name) as folder:
        experiment.write(grids, folder)
        seal(folder)
    rows = tables(experiment, grids, params.statistics.confidence)
    found = dict(zip((f"{name}.csv", f"{name}.barriers.csv"), rows, strict=True))
    shown = results.read(params.reports() / "results" / "data" / f"{settings.data}.csv")
    chosen = {str(of): own["example"].to_numpy() for of, own in shown.groupby("eval_set")}
    found[f"{name}.samples.csv"] = samples(experiment, grids, chosen)
    for file, table in found.items():
        table.insert(0, "experiment", name)
        results.write(table, params.reports() / "results" / "connect" / file)


def prepare(params: Params, settings: Setting, names: Sequence[str]) -> Experiment:
    """Return an experiment, aligned and fitted, to be measured on these evaluation sets."""
    device = devices.pick(params.device)
    calibration = settings.calibration and settings.calibration.model_dump()
    workers = devices.workers(params.workers, device)
    return Experiment(
        params.models(settings.start),
        params.models(settings.end),
        settings.pairs,
        paths={choice.called: choice.choice() for choice in settings.paths},
        alignments={choice.called: choice.choice() for choice in settings.alignments},
        sets=measured(Path("data") / settings.data, names, settings.batchnorm, calibration, device),
        protocol=settings.protocol,
        precision=params.precision,
        run=partial(parallel.run, workers=workers, scheduler=params.cluster),
    )


if __name__ == "__main__":
    with one_line():
        main()
