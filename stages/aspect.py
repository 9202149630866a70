"""Measure aspects of the landscape of recipes' models: models/ + data/ -> results/aspects/."""

from __future__ import annotations

from basins import parallel

if __name__ == "__main__":
    parallel.start("basins.landscape.aspects")

from typing import Any

import pandas as pd

import common
from basins import layout
from basins.data.calibration import Calibration
from basins.errors import one_line
from basins.landscape.aspects import Measurement, gathered, measurements, tunes
from basins.nets.control import Control
from basins.settings import Params, measures
from basins.store import folder_hash
from basins.training.sample import Sample


def main() -> None:
    """Run the tests that are not in the store, in parallel, then write their rows."""
    params, aspects = common.section("aspect", __doc__)
    device, run = common.work(params)
    items = {name: tests(params, settings, device) for name, settings in aspects.items()}
    rows = iter(run([item for several in items.values() for item in several], title="aspects"))
    tables = ((name, pd.concat([next(rows) for _ in several])) for name, several in items.items())
    common.write(params, "aspects", tables)


def tests(params: Params, settings: measures.Aspect, device: Any) -> list[Measurement]:
    """Return every test of one entry's aspect on its models."""
    data, early = layout.data(settings.data), layout.early(params, settings.models)
    calibration = settings.calibration and settings.calibration.model_dump()
    seed = params.data[settings.data].seed
    return measurements(
        settings.aspect.model_dump(),
        models=tuple(map(Control.of, layout.models(params, settings.models))),
        origins=tuple(layout.origins(params, settings.models, tunes)),
        early={steps: tuple(map(Control.of, folders)) for steps, folders in early.items()},
        data=data,
        fingerprint=folder_hash(data),
        sets=tuple(settings.eval_sets),
        rows=settings.rows,
        train=Sample(data, settings.rows, **settings.shares(), seed=seed),
        batchnorm=settings.batchnorm,
        calibration=calibration and Calibration(data, **calibration),
        tables=gathered(layout.results(params), settings.experiments),
        device=device,
    )


if __name__ == "__main__":
    with one_line():
        main()
