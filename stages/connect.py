"""Evaluate every pair of one experiment: models/ + data/ -> results/connect/ and losses/."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from basins import devices, parallel, results, seeds
from basins.data import disk
from basins.data.calibration import Calibration
from basins.errors import one_line
from basins.landscape.barriers import barrier_linear
from basins.params import Experiment as Setting
from basins.params import Params, pick, read
from basins.paths import jobs
from basins.paths.adaptive import refine
from basins.paths.experiment import Experiment, Grid, Joined
from basins.paths.pairs import grid
from basins.probes.counterfactual import SETS
from basins.statistics.examples import resampling_weights
from basins.statistics.paths import barrier_rows, mean_losses, path_rows
from basins.store import folder_hash, whole_folder


def main() -> None:
    """Evaluate what the store does not hold yet, in parallel, then write rows and losses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", help="a key of `connect` in params.yaml")
    name = parser.parse_args().experiment
    params = read(check=["data", "connect"])
    settings = pick(params.connect, name, "connect")
    experiment = prepare(params, settings, SETS)

    def means(grids: Mapping[Joined, Grid]) -> dict[Joined, np.ndarray]:
        experiment.evaluate(grids)
        return {key: mean_losses(experiment.losses(key, ts).curves) for key, ts in grids.items()}

    if isinstance(settings.points, int):
        grids = dict.fromkeys(experiment.joined, grid(settings.points))
        experiment.evaluate(grids)
    else:
        options = settings.points.model_dump()
        grids = refine(experiment.joined, means, barrier_linear, **options)

    paths, barriers, statistics = [], [], params.statistics
    count = len(disk.read(experiment.sets.data, SETS[0]).labels)
    stream = seeds.generator("bootstrap", name)
    weights = resampling_weights(count, statistics.resamples, stream)
    with whole_folder(Path("losses") / name) as folder:
        for joined, ts in grids.items():
            losses = experiment.losses(joined, ts)
            losses.write(folder / f"{joined}.safetensors".replace("/", "-"))
            ids = {"experiment": name, **joined.ids()}
            paths += [ids | row for row in path_rows(ts, losses.curves)]
            rows = barrier_rows(ts, losses.curves, weights, statistics.confidence)
            barriers += [ids | row | {"distance": losses.distance} for row in rows]
    reports = params.reports() / "results" / "connect"
    results.write(pd.DataFrame(paths), reports / f"{name}.csv")
    results.write(pd.DataFrame(barriers), reports / f"{name}.barriers.csv")


def prepare(params: Params, settings: Setting, sets: Sequence[str]) -> Experiment:
    """Return an experiment with its models aligned, to be measured on these evaluation sets."""
    device = devices.pick(params.device)
    data = Path("data") / settings.data
    cue = tuple(params.data[settings.data].cue.model_dump().items())
    return Experiment(
        params.models(settings.start),
        params.models(settings.end),
        settings.pairs,
        {choice.called: choice.choice() for choice in settings.paths},
        {choice.called: choice.choice() for choice in settings.alignments},
        jobs.Sets(
            data,
            folder_hash(data),
            tuple(sets),
            Calibration(data, cue, **settings.calibration.model_dump()),
            tuple(settings.batchnorm),
            "fp32",
            device,
        ),
        params.precision,
        partial(
            parallel.run,
            workers=devices.workers(params.workers, device),
            scheduler=params.cluster,
        ),
    )


if __name__ == "__main__":
    with one_line():
        main()
