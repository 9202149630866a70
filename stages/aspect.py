"""Measure one aspect of the landscape of a recipe's models: models/ + data/ -> results/aspects/."""

from __future__ import annotations

from basins import parallel

if __name__ == "__main__":
    parallel.start("basins.landscape.terrain")

import argparse
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from basins import devices, results
from basins.align.jobs import Control
from basins.data.calibration import Calibration
from basins.errors import one_line
from basins.landscape import terrain
from basins.nets import checkpoint
from basins.params import pick, read
from basins.registry import module
from basins.store import folder_hash
from basins.training.sample import Sample


def main() -> None:
    """Run the tests that the store does not know yet, in parallel, then write their rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("aspect", help="a key of `aspect` in params.yaml")
    name = parser.parse_args().aspect
    params = read(check=["aspect"])
    settings = pick(params.aspect, name, "aspect")
    device, data = devices.pick(params.device), Path("data") / settings.data
    calibration = settings.calibration and Calibration(data, **settings.calibration.model_dump())

    def controls(folders: Iterable[Path]) -> tuple[Control, ...]:
        return tuple(Control(folder, checkpoint.fingerprint(folder)) for folder in folders)

    offered = module("landscape", settings.aspect.name, "measure")
    tables = terrain.gathered(params.reports() / "results", settings.experiments)
    jobs = [
        terrain.Job(
            aspect=settings.aspect.model_dump(),
            test=test,
            models=controls(params.models(settings.models)),
            origins=tuple(params.origins(settings.models)),
            early={n: controls(paths) for n, paths in params.early(settings.models).items()},
            data=data,
            fingerprint=folder_hash(data),
            sets=tuple(settings.eval_sets),
            rows=settings.rows,
            train=Sample(
                data, settings.rows, **settings.shares(), seed=params.data[settings.data].seed
            ),
            batchnorm=settings.batchnorm,
            calibration=calibration,
            tables=tables,
            device=device,
        )
        for test in getattr(offered, "TESTS", (None,))
    ]
    found = parallel.run(
        terrain.run,
        jobs,
        workers=devices.workers(params.workers, device),
        title=f"aspect {name}",
        scheduler=params.cluster,
    )
    table = pd.concat(found, ignore_index=True)
    results.write(table, params.reports() / "results" / "aspects" / f"{name}.csv")


if __name__ == "__main__":
    with one_line():
        main()
