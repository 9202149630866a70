"""A text's training rows as a classifier draws them: mixed with counterexamples, and tokenised."""

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
    """Return the rows of the dataset in the folder `data`, kept for whoever asks next.

    They are as the network in the folder `model` reads them. `inputs` and `fingerprint` are the
    hashes of the two folders; the shares `counterexamples` and `noise` are drawn by `seed`.
    Raises `UserError` where the dataset has too few counterexamples.
    """
    rows = mixture.mixed(data, counterexamples, noise, seed)
    tokenizer, config = checkpoint.tokenizer(model), checkpoint.read_config(model)
    return tokenised(rows, tokenizer, config, device, f"{data}, train")


def inputs(data: Path, *splits: str) -> str:
    """Return the hash of splits of a dataset's folder, as far as it has them."""
    return "-".join(folder_hash(data / split) for split in splits)
