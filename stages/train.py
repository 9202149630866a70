"""Train every seed of one recipe: data/<dataset>/ -> models/<recipe>/seed<k>/."""

from __future__ import annotations

from basins import parallel

if __name__ == "__main__":
    parallel.start("basins.training.jobs")

import argparse
from pathlib import Path

from basins import devices
from basins.data import cued
from basins.errors import one_line
from basins.params import pick, read
from basins.settings import Params
from basins.store import copy_item, seal, whole_folder
from basins.training import jobs


def main() -> None:
    """Train what the store does not hold yet, in parallel, then lay the folder out as a whole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", help="a key of `train` in params.yaml")
    name = parser.parse_args().recipe
    params = read(check=["data", "train"])
    recipe = pick(params.train, name, "train")
    inputs = cued.fingerprint(Path("data") / recipe.data)
    pending = seeds(params, name, inputs)
    # A core that has no seed left may begin one of another recipe, which the store will hand to it.
    others = [key for key, other in params.train.items() if other.data == recipe.data]
    spare = [job for key in others if key != name for job in seeds(params, key, inputs)]
    items = parallel.run(
        jobs.run,
        pending,
        workers=devices.workers(params.workers, pending[0].device),
        title=f"train {name}",
        steps=recipe.method.options.get("epochs", 1),
        scheduler=params.cluster,
        spare=[job for job in spare if not job.find()],
    )
    with whole_folder(Path("models") / name) as folder:
        for job, item in zip(pending, items, strict=True):
            copy_item(item, folder / f"seed{job.seed}")
        seal(folder)


def seeds(params: Params, name: str, inputs: str) -> list[jobs.Training]:
    """Return the training of every seed of a recipe."""
    recipe = params.train[name]
    fixed = recipe.model_dump(include={"method", "net", "cue_proportion", "order"})
    device, data = devices.pick(params.device), Path("data") / recipe.data
    return [
        jobs.Training(data=data, inputs=inputs, device=device, seed=seed, **fixed)
        for seed in recipe.seeds
    ]


if __name__ == "__main__":
    with one_line():
        main()
