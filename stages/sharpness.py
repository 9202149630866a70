"""Measure the sharpness of models: models/ + data/ -> results/sharpness/."""

from __future__ import annotations

from basins import parallel

if __name__ == "__main__":
    parallel.start("basins.landscape.sharpness")

import pandas as pd

import common
from basins import layout
from basins.errors import one_line
from basins.landscape.sharpness import Ascent
from basins.nets.control import Control
from basins.settings import Params
from basins.settings.measures import Sharpness
from basins.store import folder_hash


def main() -> None:
    """Maximise the loss near each model that is not in the store, in parallel, then write rows."""
    params, entries = common.section("sharpness", __doc__)
    tables = ((name, climbed(params, settings)) for name, settings in entries.items())
    common.write(params, "sharpness", tables)


def climbed(params: Params, settings: Sharpness) -> pd.DataFrame:
    """Return a row for every model of one entry."""
    device, run = common.work(params)
    data = layout.data(settings.data)
    given = (data, folder_hash(data), settings.eval_set, settings.ascent, device)
    folders = layout.models(params, settings.models)
    values = run([Ascent(Control.of(folder), *given) for folder in folders], title="sharpness")
    rows = []
    for folder, value in zip(folders, values, strict=True):
        ids = {"model": folder.relative_to(layout.MODELS).as_posix()}
        ids |= {"recipe": folder.parent.relative_to(layout.MODELS).as_posix()}
        ids |= {"seed": int(folder.name.removeprefix("seed")), "eval_set": settings.eval_set}
        rows.append(ids | {"epsilon": settings.ascent["epsilon"]} | value._asdict())
    return pd.DataFrame(rows)


if __name__ == "__main__":
    with one_line():
        main()
