"""Evaluate planes through models: models/ + data/ -> results/plane/."""

from __future__ import annotations

from basins import parallel

if __name__ == "__main__":
    parallel.start("basins.landscape.plane", "basins.statistics.paths")

import pandas as pd

import common
from basins import layout
from basins.errors import one_line
from basins.landscape.directions import Displaced
from basins.landscape.plane import evaluate
from basins.nets.control import Control
from basins.paths.experiment import measured
from basins.settings import Params
from basins.settings.measures import Plane
from basins.statistics.paths import plane_rows
from basins.training.sample import Sample


def main() -> None:
    """Evaluate the points that are not in the store, in parallel, then write a row for each."""
    params, planes = common.section("plane", __doc__)
    common.write(params, "plane", ((name, lattice(params, name, planes[name])) for name in planes))


def lattice(params: Params, name: str, settings: Plane) -> pd.DataFrame:
    """Return the rows of one plane."""
    device, run = common.work(params)
    models = tuple(Control.of(layout.MODELS / model) for model in settings.models)
    calibration = settings.calibration and settings.calibration.model_dump()
    given = ([settings.batchnorm], calibration, params.precision, device)
    sets = measured(layout.data(settings.data), settings.eval_sets, *given)
    missing = 3 - len(models)
    if settings.directions != "models":
        seed = params.data[settings.data].seed
        sample = Sample(sets.data, settings.rows, **settings.shares(), seed=seed)
        rest = (settings.reach, sample, sets.fingerprint, device)
        work = [Displaced(models[0], settings.directions, k, *rest) for k in range(missing)]
        models = (*models, *run(work, title="directions"))
    plane = evaluate(models, settings.steps, settings.margin, sets, run, missing)
    table = plane_rows(plane, settings.models)
    table.insert(0, "plane", name)
    return table


if __name__ == "__main__":
    with one_line():
        main()
