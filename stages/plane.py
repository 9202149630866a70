"""Evaluate one plane through three models: models/ + data/ -> results/plane/."""

from __future__ import annotations

from basins import parallel

if __name__ == "__main__":
    parallel.start("basins.landscape.plane", "basins.statistics.paths")

import argparse
from functools import partial
from pathlib import Path

import pandas as pd

from basins import devices, results
from basins.align.jobs import Control
from basins.errors import one_line
from basins.landscape.plane import evaluate, nodes
from basins.nets import checkpoint
from basins.params import pick, read
from basins.paths import jobs
from basins.paths.experiment import measured
from basins.statistics.paths import path_rows


def main() -> None:
    """Evaluate what the store does not hold yet, in parallel, then write a row for every point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plane", help="a key of `plane` in params.yaml")
    name = parser.parse_args().plane
    params = read(check=[])
    settings = pick(params.plane, name, "plane")
    device = devices.pick(params.device)
    workers = devices.workers(params.workers, device)
    run = partial(parallel.run, workers=workers, scheduler=params.cluster)

    folders = [Path("models") / model for model in settings.models]
    models = tuple(Control(folder, checkpoint.fingerprint(folder)) for folder in folders)
    calibration = settings.calibration and settings.calibration.model_dump()
    data, batchnorm = Path("data") / settings.data, [settings.batchnorm]
    sets = measured(data, settings.eval_sets, batchnorm, calibration, device)
    precision = params.precision
    if precision == "auto":
        trial = jobs.Piece(models[:2], (), sets)
        [precision] = run(jobs.measure_precision, [trial], title="precision")
    sets = sets._replace(precision=precision)
    found = evaluate(models, settings.steps, settings.margin, sets, run)
    named = dict(zip(nodes(1, 0), settings.models, strict=True))
    lattice = pd.DataFrame(
        {"u": point[1], "v": point[2], "x": x, "y": y, "model": named.get(point)}
        for point, (x, y) in zip(found.points, found.positions, strict=True)
    )
    rows = pd.DataFrame(path_rows(range(len(lattice)), found.curves))
    columns = ["u", "v", "x", "y", "eval_set", "n", "loss", "loss_se", "accuracy", "model"]
    table = rows.join(lattice, on="t").reindex(columns=columns)
    table.insert(0, "plane", name)
    results.write(table, params.reports() / "results" / "plane" / f"{name}.csv")


if __name__ == "__main__":
    with one_line():
        main()
