"""Image datasets on disk: a `datasets.DatasetDict` with one memory-mapped Arrow file per split."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value, load_from_disk
from datasets.utils.logging import disable_progress_bar

from basins.data.images import Split
from basins.errors import UserError


def save(folder: Path, splits: Mapping[str, Split], classes: tuple[str, ...]) -> None:
    """Write splits of equally sized images so that `datasets.load_from_disk(folder)` reads them.

    Columns: `image`, uint8 [height, width, 3] of fixed size, and `label`, a `ClassLabel`. The same
    content gives the same bytes.
    """
    disable_progress_bar()
    written = DatasetDict()
    for name, split in splits.items():
        written[name] = _dataset(name, split, classes)
    written.save_to_disk(folder, num_shards=dict.fromkeys(splits, 1))


def read(folder: Path, split: str) -> Split:
    """Return a split whose images [n, height, width, 3] are memory-mapped, not copied.

    Raises `UserError` if the folder or the split is missing or damaged.
    """
    dataset = opened(folder, split)
    labels = np.array(dataset.data.column("label").to_numpy(), dtype=np.int64)
    chunks = dataset.data.column("image").chunks
    images = np.concatenate([_pixels(c) for c in chunks]) if len(chunks) > 1 else _pixels(chunks[0])
    return Split(images, labels)


def is_image(folder: Path) -> bool:
    """Return whether the dataset in `folder` has images."""
    return "image" in opened(folder, "train").features


def image_shape(folder: Path) -> tuple[int, ...]:
    """Return the height, width and channels of the images."""
    return read(folder, "train").images.shape[1:]


def class_names(folder: Path) -> tuple[str, ...]:
    """Return the names of the classes, in the order of their labels."""
    return tuple(opened(folder, "train").features["label"].names)


def _dataset(name: str, split: Split, classes: tuple[str, ...]) -> Dataset:
    feature = Value("uint8")
    for length in reversed(split.images.shape[1:]):
        feature = List(feature, length=length)
    features = Features(image=feature, label=ClassLabel(names=list(classes)))
    image: pa.Array = pa.array(np.ascontiguousarray(split.images).reshape(-1))
    for length in reversed(split.images.shape[1:]):
        image = pa.FixedSizeListArray.from_arrays(image, length)
    table = pa.Table.from_arrays([image, pa.array(split.labels)], schema=features.arrow_schema)
    # Named by content, so that the same data has the same bytes whatever `datasets` would name it.
    content = hashlib.sha256(name.encode() + split.labels.tobytes() + split.images.tobytes())
    return Dataset(table, fingerprint=content.hexdigest()[:16])


def opened(folder: Path, split: str) -> Dataset:
    """Return a split of any dataset; raises `UserError` if it is missing or damaged."""
    try:
        loaded = load_from_disk(str(folder))
        if not isinstance(loaded, DatasetDict):
            raise TypeError("one split alone")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f"{folder}: not a readable dataset ({' '.join(str(error).split())[:120]}); "
            f"delete the folder and run `dvc repro data@{folder.name}`"
        ) from None
    if split not in loaded:
        raise UserError(f"{folder}: no split {split!r}; there are: {', '.join(map(str, loaded))}")
    return loaded[split]


def _pixels(column: pa.FixedSizeListArray) -> np.ndarray:
    shape = []
    while pa.types.is_fixed_size_list(column.type):
        shape.append(column.type.list_size)
        column = column.flatten()
    return column.to_numpy(zero_copy_only=True).reshape(-1, *shape)
