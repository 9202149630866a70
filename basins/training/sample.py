"""Training rows used after training, for merges and derivatives of the loss."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from basins import seeds
from basins.data import disk, text
from basins.data.calibration import Calibration
from basins.data.mixture import mixed
from basins.data.resident import Resident
from basins.data.sampling import stratified
from basins.data.tokens import Tokens
from basins.nets import checkpoint
from basins.nets.inputs import encoded


class Sample(NamedTuple):
    """A sample of `size` training rows of the dataset in the folder `data`, or all.

    It is stratified by class. A share `cue_proportion` of images carries the cue; rows of text have
    the shares `counterexamples` and `noise`, drawn with the dataset's `seed`.
    """

    data: Path
    size: int | None
    cue_proportion: float = 0.0
    counterexamples: float = 0.0
    noise: float = 0.0
    seed: int = 0

    def load(self, model: Path, device: torch.device) -> Resident | Tokens:
        """Return the rows on the device, for networks like that in the folder `model`.

        Labels of text are the numbers of that network's classes of the same names. Raises
        `UserError` if the dataset is missing or damaged, or has too few counterexamples.
        """
        return _load(self, model, device)


@lru_cache(maxsize=4)
def _load(sample: Sample, model: Path, device: torch.device) -> Resident | Tokens:
    if disk.is_image(sample.data):
        return Calibration(sample.data, sample.cue_proportion, sample.size).load(device)
    columns = mixed(sample.data, sample.counterexamples, sample.noise, sample.seed)
    if sample.size is not None:
        seed = seeds.derive("merging") % 2**32
        chosen = stratified(np.array(columns["label"]), sample.size, seed)
        columns = text.pick(columns, [*map(int, chosen)])
    classes, where = text.class_names(sample.data, "train"), f"{sample.data}, train"
    config, tokenizer = checkpoint.read_config(model), checkpoint.tokenizer(model)
    return encoded(columns, classes, tokenizer, config, device, where)
