"""A split of a dataset as inputs of a network: images, or text encoded by its tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from basins.data import disk, text
from basins.data.classes import matched
from basins.data.resident import Resident, resident
from basins.data.tokens import Tokens, fitting, tokens
from basins.nets import checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def inputs(folder: Path, split: str, model: Path, device: torch.device) -> Resident | Tokens:
    """Put a split of the dataset in `folder` on the device, for networks like that in `model`.

    Raises `UserError` if the dataset is missing or damaged, or does not fit the network.
    """
    if disk.is_image(folder):
        return resident(disk.read(folder, split), device)
    where, config = f"{folder}, {split}", checkpoint.read_config(model)
    classes, rows = text.class_names(folder, split), text.read(folder, split)
    return encoded(rows, classes, checkpoint.tokenizer(model), config, device, where)


def encoded(
    columns: text.Columns,
    classes: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    config: Mapping[str, Any],
    device: torch.device,
    where: str,
) -> Tokens:
    """Put sentences on the device as inputs of a network with this config.

    Args:
        columns: the sentences, and in `label` the index of each row's class in `classes`.
        classes: the names of the data's classes, which are matched to the network's by name
            (`data.classes.matched`).
        tokenizer: the network's.
        config: the network's: its classes, the most tokens of a row, and possibly `long_rows`.
        device: where the rows are put.
        where: the data's name in error messages and warnings.

    Raises:
        UserError: the classes cannot be matched, a sentence is missing, there are no rows, or a
            row is too long; the message names `where`.
    """
    numbers, merge = matched(checkpoint.classes(config), classes, where)
    pad: Any = tokenizer.pad_token_id
    limit = checkpoint.longest(config)
    found = tokens(
        *fitting(columns, tokenizer, config, limit, where),
        [numbers[label] for label in columns["label"]],
        pad=0 if pad is None else pad,  # some have none; their networks use the mask
        limit=limit,
        device=device,
        where=where,
    )
    return found if merge is None else replace(found, merge=torch.tensor(merge, device=device))
