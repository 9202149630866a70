"""Measure aspects of the landscape of recipes' models: models/ + data/ -> results/aspects/."""

from __future__ import annotations

from basins import parallel

if __name__ == "__main__":
    parallel.start("basins.landscape.terrain")

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

import common
from basins import layout, results
from basins.data.calibration import Calibration
from basins.errors import one_line
from basins.landscape import terrain
from basins.nets.control import Control
from basins.registry import module
from basins.settings import Aspect, Params
from basins.store import folder_hash, whole_folder
from basins.training.sample import Sample


def main() -> None:
    """Run the tests that the store does not know yet, in parallel, then write their rows."""
    params, aspects = common.section("aspect", __doc__)
    device, run = common.work(params)
    items = {name: tests(params, settings, device) for name, settings in aspects.items()}
    rows = iter(run([item for several in items.values() for item in several], title="aspects"))
    with whole_folder(layout.results(params, "aspects")) as folder:
        for name, several in items.items():
            table = pd.concat([next(rows) for _ in several], ignore_index=True)
            results.write(table, folder / f"{name}.csv")


def tests(params: Params, settings: Aspect, device: Any) -> list[terrain.Measurement]:
    """Return every test of an aspect, on the models of one entry."""
    data = layout.data(settings.data)
    calibration = settings.calibration and Calibration(data, **settings.calibration.model_dump())
    rows, seed = settings.rows, params.data[settings.data].seed
    early = layout.early(params, settings.models).items()

    def controls(folders: Iterable[Path]) -> tuple[Control, ...]:
        return tuple(Control.of(folder) for folder in folders)

    return [
        terrain.Measurement(
            aspect=settings.aspect.model_dump(),
            test=test,
            models=controls(layout.models(params, settings.models)),
            origins=tuple(layout.origins(params, settings.models, tunes)),
            early={steps: controls(folders) for steps, folders in early},
            data=data,
            fingerprint=folder_hash(data),
            sets=tuple(settings.eval_sets),
            rows=rows,
            train=Sample(data, rows, **settings.shares(), seed=seed),
            batchnorm=settings.batchnorm,
            calibration=calibration,
            tables=terrain.gathered(layout.results(params), settings.experiments),
            device=device,
        )
        for test in getattr(module("landscape", settings.aspect.name, "measure"), "TESTS", (None,))
    ]


def tunes(method: str) -> bool:
    """Return whether a method of fine-tuning begins with a trained model."""
    return hasattr(module("training", method, ("finetune", "train")), "finetune")


if __name__ == "__main__":
    with one_line():
        main()
