"""Measure how sharp every model of a recipe or group is: models/ + data/ -> results/sharpness/."""

from __future__ import annotations

from basins import parallel

if __name__ == "__main__":
    parallel.start("basins.landscape.sharpness")

import argparse
from pathlib import Path

import pandas as pd

from basins import devices, results
from basins.align.jobs import Control
from basins.errors import one_line
from basins.landscape import sharpness
from basins.nets import checkpoint
from basins.params import pick, read
from basins.store import folder_hash


def main() -> None:
    """Climb from every model in parallel, as far as the store does not know it, then write rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sharpness", help="a key of `sharpness` in params.yaml")
    name = parser.parse_args().sharpness
    params = read(check=["sharpness"])
    settings = pick(params.sharpness, name, "sharpness")
    device = devices.pick(params.device)

    data = Path("data") / settings.data
    given = (data, folder_hash(data), settings.eval_set, settings.ascent, device)
    folders = params.models(settings.models)
    models = [Control(folder, checkpoint.fingerprint(folder)) for folder in folders]
    found = parallel.run(
        sharpness.run,
        [sharpness.Job(model, *given) for model in models],
        workers=devices.workers(params.workers, device),
        title="sharpness",
        steps=settings.ascent["passes"],
        scheduler=params.cluster,
    )
    rows = []
    for folder, values in zip(folders, found, strict=True):
        ids = {"model": folder.relative_to("models").as_posix()}
        ids |= {"recipe": folder.parent.relative_to("models").as_posix()}
        ids |= {"seed": int(folder.name.removeprefix("seed")), "eval_set": settings.eval_set}
        rows.append(ids | {"epsilon": settings.ascent["epsilon"]} | values._asdict())
    results.write(pd.DataFrame(rows), params.reports() / "results" / "sharpness" / f"{name}.csv")


if __name__ == "__main__":
    with one_line():
        main()
