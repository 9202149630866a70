"""Training rows of text for a classifier: mixed with counterexamples, and tokenised."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from basins.data import mixture
from basins.nets import checkpoint
from basins.store import folder_hash
from basins.training.rows import Rows, tokenised


@lru_cache(maxsize=1)
def mixed(
    data: Path,
    inputs: str,
    model: Path,
    fingerprint: str,
    counterexamples: float,
    noise: float,
    seed: int,
    device: torch.device,
) -> Rows:
    """Return the rows of the dataset in the folder `data`; the last result is cached.

    Args:
        data: the dataset's folder.
        inputs: the hash of its splits, as part of the cache's key.
        model: the folder of the network whose tokenizer is used.
        fingerprint: the hash of that network, as part of the cache's key.
        counterexamples: the share of rows that are counterexamples, from 0 to 1.
        noise: the share of rows with a wrong label, from 0 to 1.
        seed: draws both shares.
        device: where the rows are put.

    Raises:
        UserError: the dataset has too few counterexamples, or a row is empty or too long.
    """
    rows = mixture.mixed(data, counterexamples, noise, seed)
    tokenizer, config = checkpoint.tokenizer(model), checkpoint.read_config(model)
    return tokenised(rows, tokenizer, config, device, f"{data}, train")


def inputs(data: Path, *splits: str) -> str:
    """Return the hash of those of the splits that a dataset's folder has."""
    return "-".join(folder_hash(data / split) for split in splits)
