"""Cluster the models of experiments, and relate clusters to diagnostics: -> results/clusters/."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import common
from basins import layout, results
from basins.errors import one_line
from basins.settings import Params
from basins.settings.measures import Clusters
from basins.statistics import failures
from basins.statistics.resampled import resampled
from basins.statistics.strategies import STRAIGHT, analyse


def main() -> None:
    """Write the tables of every entry, each into a folder of its own."""
    params, entries = common.section("clusters", __doc__)
    tables = ((key, clustered(params, key, settings)) for key, settings in entries.items())
    named = ((f"{key}/{name}", rows) for key, of in tables for name, rows in of.items())
    common.write(params, "clusters", named)


def clustered(params: Params, key: str, settings: Clusters) -> dict[str, pd.DataFrame]:
    """Return the tables of one entry."""
    folder, statistics, name = layout.results(params), params.statistics, settings.experiment
    chosen = {**STRAIGHT, "eval_set": settings.eval_set}
    probes = results.gather(folder / "probe" / f"{name}.csv" for name in params.probe)
    files = (folder / "connect" / f"{name}{kind}.csv" for kind in ("", ".barriers"))
    paths, barriers = failures.kept(name, map(results.read, files), probes, settings.learned)
    points = paths.loc[(paths[list(chosen)] == pd.Series(chosen)).all(axis="columns")]
    return analyse(
        key,
        paths,
        barriers,
        probes,
        resampled(layout.LOSSES / name, points, statistics.resamples),
        chosen=chosen,
        slices=settings.diagnostics,
        sharpness=sharpness(folder, settings.sharpness),
        resamples=statistics.resamples,
        confidence=statistics.confidence,
    )


def sharpness(folder: Path, name: str | None) -> dict[str, float] | None:
    """Return the sharpness of each model in entry `name` of `sharpness`; None without a name."""
    if name is None:
        return None
    rows = results.read(folder / "sharpness" / f"{name}.csv")
    return dict(zip(rows["model"], rows["sharpness"].astype(float), strict=True))


if __name__ == "__main__":
    with one_line():
        main()
