"""Train every seed of one recipe: data/<dataset>/ -> models/<recipe>/seed<k>/."""

from __future__ import annotations

import argparse
from pathlib import Path

from basins import devices, parallel
from basins.errors import one_line
from basins.params import Params, pick, read
from basins.store import copy_item, folder_hash, whole_folder
from basins.training import jobs


def main() -> None:
    """Train what the store does not hold yet, in parallel, then lay the folder out as a whole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", help="a key of `train` in params.yaml")
    name = parser.parse_args().recipe
    params = read(check=["data", "train"])
    recipe = pick(params.train, name, "train")
    data_hash = folder_hash(Path("data") / recipe.data / "train")
    pending = seeds(params, name, data_hash)
    # A core that has no seed left may begin one of another recipe, which the store will hand to it.
    spare = [
        job
        for other, settings in params.train.items()
        if other != name and settings.data == recipe.data
        for job in seeds(params, other, data_hash)
        if not job.find()
    ]
    items = parallel.run(
        jobs.run,
        pending,
        workers=devices.workers(params.workers, pending[0].device),
        title=f"train {name}",
        steps=recipe.method.options.get("epochs", 1),
        scheduler=params.cluster,
        spare=[] if all(job.find() for job in pending) else spare,
    )
    with whole_folder(Path("models") / name) as folder:
        for job, item in zip(pending, items, strict=True):
            copy_item(item, folder / f"seed{job.seed}")


def seeds(params: Params, name: str, data_hash: str) -> list[jobs.Job]:
    """Return the training of every seed of a recipe."""
    recipe = params.train[name]
    return [
        jobs.Job(
            data=Path("data") / recipe.data,
            data_hash=data_hash,
            net=recipe.net.model_dump(),
            method=recipe.method.model_dump(),
            cue=params.data[recipe.data].cue.model_dump(),
            cue_proportion=recipe.cue_proportion,
            seed=seed,
            device=devices.pick(params.device),
        )
        for seed in recipe.seeds
    ]


if __name__ == "__main__":
    with one_line():
        main()
