"""Cluster one experiment's models, and hold that against diagnostics: -> results/clusters/."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from basins import results
from basins.errors import one_line
from basins.params import pick, read
from basins.statistics.resampled import resampled
from basins.statistics.strategies import analyse
from basins.store import whole_folder

STRAIGHT = {"path": "linear", "alignment": "none", "batchnorm": "interpolate"}
"""The curves that clusters come from, as in the paper."""


def main() -> None:
    """Write the tables of one entry of `clusters` in params.yaml, into a folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("entry", help="a key of `clusters` in params.yaml")
    key = parser.parse_args().entry
    params = read(check=[])
    setting = pick(params.clusters, key, "clusters")
    folder, statistics, name = params.reports() / "results", params.statistics, setting.experiment
    chosen = {**STRAIGHT, "eval_set": setting.eval_set}
    paths = results.read(folder / "connect" / f"{name}.csv")
    points = paths.loc[(paths[list(chosen)] == pd.Series(chosen)).all(axis="columns")]
    found = analyse(
        key,
        paths,
        results.read(folder / "connect" / f"{name}.barriers.csv"),
        results.gather(folder / "probe" / f"{name}.csv" for name in params.probe),
        resampled(Path("losses") / name, points, statistics.resamples),
        chosen=chosen,
        slices=setting.diagnostics,
        sharpness=_sharpness(folder, setting.sharpness),
        resamples=statistics.resamples,
        confidence=statistics.confidence,
    )
    with whole_folder(folder / "clusters" / key) as target:
        for table, rows in found.items():
            results.write(rows, target / f"{table}.csv")


def _sharpness(folder: Path, name: str | None) -> dict[str, float] | None:
    if name is None:
        return None
    rows = results.read(folder / "sharpness" / f"{name}.csv")
    return dict(zip(rows["model"], rows["sharpness"].astype(float), strict=True))


if __name__ == "__main__":
    with one_line():
        main()
