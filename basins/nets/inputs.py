"""A split of a dataset as a network takes it: images as they are, text through its tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from basins.data import disk, text
from basins.data.resident import Resident, resident
from basins.data.tokens import Tokens, fitting, tokens
from basins.errors import UserError
from basins.nets import checkpoint


def inputs(folder: Path, split: str, model: Path, device: torch.device) -> Resident | Tokens:
    """Put a split of the dataset in `folder` on the device, for networks like that in `model`.

    Where a text's split has other classes than its training rows, the network's are merged into
    them. Raises `UserError` where the dataset is missing or damaged, or does not fit the network.
    """
    if disk.is_image(folder):
        return resident(disk.read(folder, split), device)
    rows, config = text.read(folder, split), checkpoint.read_config(model)
    tokenizer: Any = checkpoint.tokenizer(model)
    ids, types = fitting(rows, tokenizer, config, f"{folder}, {split}")
    found = tokens(
        ids,
        types,
        rows["label"],
        pad=tokenizer.pad_token_id,
        limit=config["max_position_embeddings"],
        device=device,
        where=f"{folder}, {split}",
    )
    names = config.get("id2label", {})
    task, classes = (text.class_names(folder, name) for name in ("train", split))
    known = tuple(names[str(k)] for k in range(len(names)) if str(k) in names)
    merge = merging(known if set(known) == set(task) else task, classes, f"{folder}, {split}")
    return replace(found, merge=merge and torch.tensor(merge, device=device))


def merging(task: Sequence[str], classes: Sequence[str], where: str) -> list[int] | None:
    """Return which of a split's `classes` each class of the network, by its name, counts as.

    None where they are the same. A class that the split lacks counts as its one other class:
    MNLI's contradiction and neutral as HANS's non-entailment. Raises `UserError`, saying `where`,
    where there is more than one.
    """
    if tuple(task) == tuple(classes):
        return None
    others = [name for name in classes if name not in task]
    if len(others) > 1:
        raise UserError(f"{where}: its classes {classes} are not the network's, {task}")
    return [classes.index(name if name in classes else others[0]) for name in task]
