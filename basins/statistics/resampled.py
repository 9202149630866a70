"""Curves on resampled examples, from the losses that an experiment saved in its folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import safe_open

from basins import seeds
from basins.errors import UserError
from basins.statistics.examples import resampling_weights
from basins.statistics.strategies import CURVES
from basins.store import file_hash


def resampled(
    folder: Path, points: pd.DataFrame, resamples: int
) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """Return every measure of each pair's curve [resamples], with shared resampled examples.

    `points` are the rows of one set along one path; `folder` has the losses of the examples.
    """
    stream = seeds.generator("bootstrap", folder.name)
    weights = np.zeros((0, 0))
    measures = {}
    for _, curve in points.groupby(["model_a", "model_b"], sort=False):
        a, b = curve.iloc[0][["model_a", "model_b"]]
        grid = np.sort(curve["t"].to_numpy())
        losses = _losses(folder, curve.iloc[0])
        if not weights.size:
            weights = resampling_weights(losses.shape[1], resamples, stream)
        drawn = weights @ losses.T
        measures[a, b] = {name: measure(grid, drawn) for name, measure in CURVES.items()}
    return measures


def _losses(folder: Path, row: pd.Series) -> np.ndarray:
    """Return the losses [T, n] of the curve of a row of points."""
    joined = f"{row['path']}-{row['alignment']}-{row['model_a']}--{row['model_b']}"
    file = folder / f"{joined}.safetensors".replace("/", "-")
    try:
        file_hash(file)  # refuses files that have changed
        with safe_open(file, framework="numpy") as opened:
            return opened.get_tensor(f"{row['batchnorm']}/{row['eval_set']}/losses")
    except OSError:
        raise UserError(f"{file}: no losses of this pair; run `dvc repro` first") from None
