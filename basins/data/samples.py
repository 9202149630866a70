"""A few images of every evaluation set, small enough to lie beside the results in git."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping

import numpy as np
import pandas as pd
from PIL import Image

from basins.data.images import Split

MOST_CLASSES = 10


def thumbnails(dataset: str, sets: Mapping[str, Split], classes: tuple[str, ...]) -> pd.DataFrame:
    """Return one image of each of the first ten classes from every set, as rows.

    Columns: dataset, eval_set, label, class, png (base64). The row of one class is the same example
    in all sets; none of a dataset of text, of which some may not be passed on.
    """
    if not sets:
        return pd.DataFrame(columns=["dataset", "eval_set", "label", "class", "png"])
    labels = next(iter(sets.values())).labels
    present = [label for label in range(len(classes)) if (labels == label).any()][:MOST_CLASSES]
    return pd.DataFrame(
        {
            "dataset": dataset,
            "eval_set": name,
            "label": label,
            "class": classes[label],
            "png": _png(split.images[np.flatnonzero(labels == label)[0]]),
        }
        for name, split in sets.items()
        for label in present
    )


def _png(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()
