"""Train every seed of one recipe: data/<dataset>/ -> models/<recipe>/seed<k>/."""

from __future__ import annotations

import argparse
from pathlib import Path

from basins import devices, parallel
from basins.errors import one_line
from basins.params import pick, read
from basins.store import copy_item, folder_hash, whole_folder
from basins.training import jobs


def main() -> None:
    """Train what the store does not hold yet, in parallel, then lay the folder out as a whole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", help="a key of `train` in params.yaml")
    name = parser.parse_args().recipe
    params = read(check=["data", "train"])
    recipe = pick(params.train, name, "train")
    data = Path("data") / recipe.data
    data_hash, device = folder_hash(data / "train"), devices.pick(params.device)
    pending = [
        jobs.Job(
            data=data,
            data_hash=data_hash,
            net=recipe.net.model_dump(),
            method=recipe.method.model_dump(),
            cue=params.data[recipe.data].cue.model_dump(),
            cue_proportion=recipe.cue_proportion,
            seed=seed,
            device=device,
        )
        for seed in recipe.seeds
    ]
    workers = devices.workers(params.workers, device)
    epochs = recipe.method.options.get("epochs", 1)
    items = parallel.run(
        jobs.run,
        pending,
        workers=workers,
        title=f"train {name}",
        steps=epochs,
        scheduler=params.cluster,
    )
    with whole_folder(Path("models") / name) as folder:
        for job, item in zip(pending, items, strict=True):
            copy_item(item, folder / f"seed{job.seed}")


if __name__ == "__main__":
    with one_line():
        main()
