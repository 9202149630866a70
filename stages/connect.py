"""Evaluate every pair of one experiment: models/ + data/ -> results/connect/ and losses/."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from basins import devices, parallel, results, seeds
from basins.data import disk
from basins.errors import one_line
from basins.nets import checkpoint
from basins.params import pick, read
from basins.paths import jobs
from basins.paths.pairs import grid, pairs
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
    data, device = Path("data") / experiment.data, devices.pick(params.device)
    cue = tuple(params.data[experiment.data].cue.model_dump().items())
    calibration = experiment.calibration
    sets = jobs.Sets(data, SETS, cue, calibration.cue_proportion, calibration.size, device)
    between = jobs.Between(experiment.path.model_dump(), experiment.alignment.model_dump())

    starts, ends = params.models(experiment.start), params.models(experiment.end)
    joined, ts = pairs(starts, ends, experiment.pairs), grid(experiment.points)
    hashes = {model: checkpoint.fingerprint(Path("models") / model) for model in {*starts, *ends}}
    hashes["data"] = folder_hash(data)
    pieces = jobs.plan(Path("models"), joined, ts, between, experiment.batchnorm, sets, hashes)
    workers = devices.workers(params.workers, device)
    files = parallel.run(jobs.run, [*pieces.values()], workers=workers, title=f"connect {name}")
    found = dict(zip(pieces, files, strict=True))

    paths, barriers = [], []
    statistics, stream = params.statistics, seeds.generator("bootstrap", name)
    count = len(disk.read(data, SETS[0]).labels)
    weights = resampling_weights(count, statistics.resamples, stream)
    with whole_folder(Path("losses") / name) as folder:
        for a, b in joined:
            curves, distance = jobs.load_curves(found[a,], found[a, b], found[b,])
            file = f"{a}--{b}.safetensors".replace("/", "-")
            jobs.save_curves(curves, distance, folder / file)
            ids = {"experiment": name, "model_a": a, "model_b": b}
            ids |= {"path": experiment.path.name, "alignment": experiment.alignment.name}
            paths += [ids | row for row in path_rows(ts, curves)]
            rows = barrier_rows(ts, curves, weights, statistics.confidence)
            barriers += [ids | row | {"distance": distance} for row in rows]
    reports = params.reports() / "results" / "connect"
    results.write(pd.DataFrame(paths), reports / f"{name}.csv")
    results.write(pd.DataFrame(barriers), reports / f"{name}.barriers.csv")


if __name__ == "__main__":
    with one_line():
        main()
