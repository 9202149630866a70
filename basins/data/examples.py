"""Properties of a dataset's examples other than the inputs of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from basins.data import disk, text


def columns(folder: Path, split: str) -> dict[str, Any]:
    """Return columns of a split's examples other than inputs, such as `label` or their kind."""
    if disk.is_image(folder):
        return {"label": disk.read(folder, split).labels}
    found = text.read(folder, split)
    return {name: found[name] for name in found if name not in text.fields(found)}


def binary(folder: Path, split: str) -> np.ndarray | None:
    """Return the labels, bool [n], of a text split with two classes, or None for other splits."""
    if disk.is_image(folder) or len(text.class_names(folder, split)) != 2:
        return None
    return np.array(text.read(folder, split)["label"], dtype=bool)
