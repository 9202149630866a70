"""Someone's own data: a `datasets.DatasetDict` on disk, of images or of sentences."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Image, load_from_disk
from datasets.utils.logging import disable_progress_bar

from basins import seeds
from basins.checkpoints.models import Models, short
from basins.data import disk
from basins.data.images import Split
from basins.data.resident import Resident, resident
from basins.data.sampling import stratified
from basins.errors import UserError
from basins.nets.inputs import inputs
from basins.paths.engine import Examples
from basins.training.sample import Sample

TRAINING = ("train", "train_c", "counterexamples")
"""Splits that nothing is measured on: training rows, with a cue, and a pool of more of them."""

ROWS = 2048
"""Training rows, at most, that BatchNorm statistics, activations and merges are taken from."""


@dataclass(frozen=True)
class Task:
    """What models are measured on: evaluation sets on the device, by name.

    `labels` are those of sets in two classes, bool [n], and None of others. `data` is
    the dataset's folder, whose training rows are read where something takes them.
    """

    data: Path
    sets: dict[str, Examples]
    labels: dict[str, np.ndarray | None]
    models: Models
    device: torch.device

    @cached_property
    def training(self) -> Examples:
        """At most `ROWS` training rows, each class in its proportion."""
        split = disk.opened(self.data, "train")
        count = min(len(split), ROWS)
        if self.models.text:
            assert self.models.folder is not None
            return Sample(self.data, count).load(self.models.folder, self.device)
        images, labels = _images(self.data, "train")
        chosen = stratified(labels, count, seeds.derive("calibration") % 2**32)
        return resident(Split(images[chosen], labels[chosen]), self.device)

    def images(self, what: str) -> Resident:
        """Return the training rows; raises `UserError`, saying `what`, where they are text."""
        if not isinstance(self.training, Resident):
            raise UserError(f"{what} takes images, and the data are text; choose another")
        return self.training


def read(data: Path, names: list[str] | None, models: Models, device: torch.device) -> Task:
    """Put evaluation sets of a dataset on the device: these, or all labelled ones.

    Raises `UserError` where the folder, a split or a column is missing, or the networks do not
    take the data.
    """
    disable_progress_bar()
    try:
        loaded = load_from_disk(str(data))
        if not isinstance(loaded, DatasetDict):
            raise TypeError("one split alone; save a DatasetDict")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{data}: not a DatasetDict on disk ({short(error)})") from None
    splits = {str(name): split for name, split in loaded.items()}
    chosen = names or [n for n in splits if n not in TRAINING and _labels(splits[n]) is not None]
    if not chosen:
        raise UserError(f"{data}: no labelled split to evaluate on; it has: {', '.join(splits)}")
    sets: dict[str, Examples] = {}
    binary: dict[str, np.ndarray | None] = {}
    for name in chosen:
        where = f"{data}, {name}"
        if name not in splits:
            raise UserError(f"{data}: no split {name!r}; there are: {', '.join(splits)}")
        split, labels = splits[name], _labels(splits[name])
        if labels is None:
            raise UserError(f"{where}: no column `label` that has a class for every row")
        if models.text:
            sets[name] = _text(data, name, models, device)
        else:
            sets[name] = resident(_images(data, name), device)
        classes = split.features["label"]
        count = len(classes.names) if isinstance(classes, ClassLabel) else labels.max() + 1
        binary[name] = labels.astype(bool) if count == 2 else None
        _try(models, sets[name], int(labels.max()), where)
    return Task(data, sets, binary, models, device)


def _labels(split: Dataset) -> np.ndarray | None:
    """Return int64 [n], or None where a row has no label: GLUE's tests have -1."""
    if "label" not in split.features or not len(split):
        return None
    labels = np.array(split.data.column("label").to_numpy())
    return labels.astype(np.int64) if labels.dtype.kind in "iu" and labels.min() >= 0 else None


def _images(data: Path, name: str) -> Split:
    """Return images of one size as uint8 [n, height, width, channels], with their labels."""
    split, where = disk.opened(data, name), f"{data}, {name}"
    if "image" not in split.features:
        raise UserError(f"{where}: no column `image`, but {', '.join(split.column_names)}")
    labels = _labels(split)
    if labels is None:
        raise UserError(f"{where}: no column `label` that has a class for every row")
    if pa.types.is_fixed_size_list(split.data.column("image").type):
        return disk.read(data, name)  # as this project writes them: mapped, not copied
    found = (
        split["image"]
        if isinstance(split.features["image"], Image)
        else split.with_format("numpy")["image"]
    )
    pictures = [np.asarray(picture) for picture in found]
    if len({picture.shape for picture in pictures}) > 1:
        raise UserError(f"{where}: images of several sizes; resize them to one")
    images = np.stack(pictures)
    images = images[..., None] if images.ndim == 3 else images
    whole = images.dtype.kind in "iu" and images.min() >= 0 and images.max() <= 255
    if not whole or images.ndim != 4 or images.shape[3] not in (1, 3, 4):
        raise UserError(
            f"{where}: images must be [n, height, width, channels] of integers from 0 to 255, "
            f"not {images.dtype} {list(images.shape)}"
        )
    return Split(images.astype(np.uint8), labels)


def _text(data: Path, name: str, models: Models, device: torch.device) -> Examples:
    assert models.folder is not None
    for split in ("train", name):
        if not isinstance(disk.opened(data, split).features.get("label"), ClassLabel):
            raise UserError(
                f"{data}, {split}: sentences need class names: "
                "dataset.class_encode_column('label') makes them"
            )
    return inputs(data, name, models.folder, device)


@torch.inference_mode()
def _try(models: Models, examples: Examples, largest: int, where: str) -> None:
    """Raise `UserError` where the network does not take the first batch, or lacks classes."""
    given, _ = next(iter(examples.batches()))
    shapes = ", ".join(str(tuple(tensor.shape)) for tensor in given if tensor is not None)
    try:
        output = models.net(*given)
        logits = getattr(output, "logits", output)
        classes = logits.shape[1]
    except Exception as error:  # it may not be our network: whatever it raises, in one line
        raise UserError(f"{where}: the network does not take {shapes}: {short(error)}") from None
    if examples.merge is None and classes <= largest:
        raise UserError(f"{where}: labels up to {largest}, but the network has {classes} classes")
