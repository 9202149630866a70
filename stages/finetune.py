"""Tune every seed of a recipe by every method of a group: models/ -> models/<group>/<method>/."""

from __future__ import annotations

from basins import parallel

if __name__ == "__main__":
    parallel.start("basins.training.jobs")

import argparse
from pathlib import Path

from basins import devices
from basins.data import cued
from basins.errors import one_line
from basins.nets import checkpoint
from basins.params import pick, read
from basins.store import copy_item, seal, whole_folder
from basins.training import jobs


def main() -> None:
    """Tune what the store does not hold yet, in parallel, then lay the folder out as a whole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("group", help="a key of `finetune` in params.yaml")
    name = parser.parse_args().group
    params = read(check=["data", "train", "finetune"])
    group = pick(params.finetune, name, "finetune")
    data, device = Path("data") / group.data, devices.pick(params.device)
    fixed = group.model_dump(include={"protocol", "clean", "cue_proportion"})
    inputs = cued.fingerprint(data)
    pending = [
        jobs.FineTuning(
            data=data,
            inputs=inputs,
            method=method.model_dump(),
            seed=seed,
            device=device,
            start=start,
            fingerprint=checkpoint.fingerprint(start),
            label=label,
            **fixed,
        )
        for label, method in group.methods.items()
        for start, seed in zip(
            params.models(group.start), params.train[group.start].seeds, strict=True
        )
    ]
    items = parallel.run(
        jobs.run,
        pending,
        workers=devices.workers(params.workers, device),
        title=f"finetune {name}",
        steps=max(method.options.get("epochs", 1) for method in group.methods.values()),
        scheduler=params.cluster,
    )
    with whole_folder(Path("models") / name) as folder:
        for job, item in zip(pending, items, strict=True):
            copy_item(item, folder / job.label / f"seed{job.seed}")
        seal(folder)


if __name__ == "__main__":
    with one_line():
        main()
