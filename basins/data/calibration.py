"""The training images on which BatchNorm statistics are re-estimated."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from basins import seeds
from basins.data import cued
from basins.data.images import Split
from basins.data.resident import Resident, resident
from basins.data.sampling import stratified

Procedure = Literal["published", "corrected"]  # Mechanistic Mode Connectivity's code, or ours


class Calibration(NamedTuple):
    """The training images, of the dataset in the folder `data`, for statistics.

    They are `size` images, stratified by class, of the training images with a share of
    `cue_proportion` carrying the cue; if `size` is None, all in order. Hashable, so that a process
    loads them once.
    """

    data: Path
    cue_proportion: float
    size: int | None

    def of(self, mode: str) -> Calibration:
        """Return the images for a BatchNorm mode: for `reset_cued` all carry the cue."""
        return self._replace(cue_proportion=1.0) if mode == "reset_cued" else self

    def load(self, device: torch.device) -> Resident:
        """Return the images on the device."""
        return _load(self, device)


@cache
def _load(calibration: Calibration, device: torch.device) -> Resident:
    images, labels = split = cued.read(calibration.data).at(calibration.cue_proportion)
    if calibration.size is not None:
        chosen = stratified(labels, calibration.size, seeds.derive("calibration") % 2**32)
        split = Split(images[chosen], labels[chosen])
    return resident(split, device)
