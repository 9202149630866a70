"""Cluster one experiment's models, and hold that against diagnostics: -> results/clusters/."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import safe_open

from basins import results, seeds
from basins.errors import UserError, one_line
from basins.params import pick, read
from basins.statistics.examples import resampling_weights
from basins.statistics.strategies import CURVES, analyse
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
        resamples=statistics.resamples,
        confidence=statistics.confidence,
    )
    with whole_folder(folder / "clusters" / key) as target:
        for table, rows in found.items():
            results.write(rows, target / f"{table}.csv")


def resampled(
    folder: Path, points: pd.DataFrame, resamples: int
) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """Return every measure of each pair's curve [resamples], on the same resampled examples.

    `points` are the rows of one set along one path; `folder` has the losses of their examples.
    """
    stream = seeds.generator("bootstrap", folder.name)
    weights = np.zeros((0, 0))
    found = {}
    for _, curve in points.groupby(["model_a", "model_b"], sort=False):
        a, b = curve.iloc[0][["model_a", "model_b"]]
        grid = np.sort(curve["t"].to_numpy())
        losses = _losses(folder, curve.iloc[0])
        if not weights.size:
            weights = resampling_weights(losses.shape[1], resamples, stream)
        drawn = weights @ losses.T
        found[a, b] = {name: measure(grid, drawn) for name, measure in CURVES.items()}
    return found


def _losses(folder: Path, row: pd.Series) -> np.ndarray:
    """Return the losses [T, n] of the curve of a row of points."""
    joined = f"{row['path']}-{row['alignment']}-{row['model_a']}--{row['model_b']}"
    file = folder / f"{joined}.safetensors".replace("/", "-")
    try:
        with safe_open(file, framework="numpy") as opened:
            return opened.get_tensor(f"{row['batchnorm']}/{row['eval_set']}/losses")
    except OSError:
        raise UserError(f"{file}: no losses of this pair; run `dvc repro` first") from None


if __name__ == "__main__":
    with one_line():
        main()
