"""Fine-tune each seed of a recipe by each method of a group: -> models/<group>/<method>/."""

from __future__ import annotations

from basins import parallel

if __name__ == "__main__":
    parallel.start("basins.training.image_models")

import common
from basins import layout
from basins.data import cued
from basins.errors import one_line
from basins.nets import checkpoint
from basins.store import copy_item
from basins.training.image_models import FineTuning


def main() -> None:
    """Fine-tune the models that are not in the store, in parallel, then write the whole folder."""
    params, name, group = common.entry("finetune", __doc__)
    device, run = common.work(params)
    data = layout.data(group.data)
    inputs = cued.fingerprint(data)
    starts = layout.models(params, group.start)
    items = [
        FineTuning(
            data=data,
            inputs=inputs,
            method=method.model_dump(),
            seed=seed,
            device=device,
            start=start,
            fingerprint=checkpoint.fingerprint(start),
            label=label,
            **group.model_dump(include={"protocol", "clean", "cue_proportion"}),
        )
        for label, method in group.methods.items()
        for start, seed in zip(starts, params.train[group.start].seeds, strict=True)
    ]
    folders = run(items, title=f"finetune {name}")
    places = (f"{item.label}/seed{item.seed}" for item in items)
    layout.lay_out(params, name, zip(folders, places, strict=True), copy_item)


if __name__ == "__main__":
    with one_line():
        main()
