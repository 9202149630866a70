"""Evaluate every pair of one experiment: models/ + data/ -> results/connect/ and losses/."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import pandas as pd

from basins import devices, parallel, results, seeds
from basins.align import jobs as alignments
from basins.align.jobs import Control
from basins.data import disk
from basins.data.calibration import Calibration
from basins.errors import one_line
from basins.nets import checkpoint
from basins.params import pick, read
from basins.paths import jobs
from basins.paths.pairs import grid, pairs
from basins.paths.plan import Curve
from basins.probes.counterfactual import SETS
from basins.statistics.examples import resampling_weights
from basins.statistics.paths import barrier_rows, path_rows
from basins.store import folder_hash, whole_folder


def main() -> None:
    """Evaluate what the store does not hold yet, in parallel, then write rows and losses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", help="a key of `connect` in params.yaml")
    name = parser.parse_args().experiment
    params = read(check=["data", "connect"])
    experiment = pick(params.connect, name, "connect")
    device = devices.pick(params.device)
    run = partial(parallel.run, workers=devices.workers(params.workers, device))

    data = Path("data") / experiment.data
    cue = tuple(params.data[experiment.data].cue.model_dump().items())
    calibration = Calibration(data, cue, *experiment.calibration.model_dump().values())
    modes, precision = tuple(experiment.batchnorm), params.precision
    sets = jobs.Sets(data, folder_hash(data), SETS, calibration, modes, "fp32", device)
    starts, ends = (
        [Control(model, checkpoint.fingerprint(model)) for model in params.models(recipe)]
        for recipe in (experiment.start, experiment.end)
    )
    joined = pairs(starts, ends, experiment.pairs)
    if precision == "auto":
        [precision] = run(jobs.measure_precision, [jobs.Piece(joined[0], (), sets)], title="trial")
    sets = sets._replace(precision=precision)

    ts = grid(experiment.points)
    curves = {}
    for alignment in experiment.alignments:
        work = alignments.plan(joined, alignment.choice(), calibration, sets.fingerprint, device)
        files = run(alignments.run, work, title=f"{alignment.called} {name}") if work else []
        aligned = alignments.aligned(work, files)
        for path in experiment.paths:
            for pair in joined:
                controls = aligned.get(pair, pair)
                curve = Curve.along(path.choice(), controls, ts)
                curves[*pair, path.called, alignment.called] = curve
    pieces = jobs.plan(curves.values(), sets)
    done = jobs.places(pieces, run(jobs.run, pieces, title=f"connect {name}"))

    paths, barriers = [], []
    count = len(disk.read(data, SETS[0]).labels)
    stream, statistics = seeds.generator("bootstrap", name), params.statistics
    weights = resampling_weights(count, statistics.resamples, stream)
    with whole_folder(Path("losses") / name) as folder:
        for (a, b, path, alignment), curve in curves.items():
            losses = jobs.load(curve, done)
            file = f"{path}-{alignment}-{a}--{b}.safetensors".replace("/", "-")
            losses.write(folder / file)
            ids = {"experiment": name, "model_a": str(a), "model_b": str(b)}
            ids |= {"path": path, "alignment": alignment}
            paths += [ids | row for row in path_rows(ts, losses.curves)]
            rows = barrier_rows(ts, losses.curves, weights, statistics.confidence)
            barriers += [ids | row | {"distance": losses.distance} for row in rows]
    reports = params.reports() / "results" / "connect"
    results.write(pd.DataFrame(paths), reports / f"{name}.csv")
    results.write(pd.DataFrame(barriers), reports / f"{name}.barriers.csv")


if __name__ == "__main__":
    with one_line():
        main()
