"""Train every seed of one recipe: data/<dataset>/ -> models/<recipe>/seed<k>/."""

from __future__ import annotations

from basins import parallel

if __name__ == "__main__":
    parallel.start("basins.training.image_models")

from typing import Any

import common
from basins import layout
from basins.data import cued
from basins.errors import one_line
from basins.settings import Params
from basins.store import copy_item
from basins.training.image_models import Training


def main() -> None:
    """Train the models that are not in the store, in parallel, then write the whole folder."""
    params, name, recipe = common.entry("train", __doc__)
    device, run = common.work(params)
    mine = seeds(params, name, cued.fingerprint(layout.data(recipe.data)), device)
    left = not all(item.find() for item in mine)
    folders = run(mine, title=f"train {name}", spare=spare(params, device, name) if left else [])
    places = (f"seed{item.seed}" for item in mine)
    layout.lay_out(params, name, zip(folders, places, strict=True), copy_item)


def spare(params: Params, device: Any, name: str = "") -> list[Training]:
    """Return what an idle process may train: seeds of recipes but `name`, on data that are there.

    The stage of their recipe then finds them in the store.
    """
    found = []
    for key, recipe in params.train.items():
        folder = layout.data(recipe.data)
        if key != name and folder.exists():
            found += seeds(params, key, cued.fingerprint(folder), device)
    return [item for item in found if not item.find()]


def seeds(params: Params, name: str, inputs: str, device: Any) -> list[Training]:
    """Return the training of every seed of a recipe."""
    recipe = params.train[name]
    fixed = recipe.model_dump(include={"method", "net", "cue_proportion", "order"})
    data = layout.data(recipe.data)
    return [
        Training(data=data, inputs=inputs, device=device, seed=seed, **fixed)
        for seed in recipe.seeds
    ]


if __name__ == "__main__":
    with one_line():
        main()
