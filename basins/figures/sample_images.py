"""One image of each class under every counterfactual intervention (MMC section 3)."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from io import BytesIO
from typing import Annotated

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image
from pydantic import Field

from basins.figures import rows, style

GAP = 0.06


@style.styled()
def draw(
    tables: Mapping[str, pd.DataFrame],
    *,
    dataset: str,
    columns: Annotated[int, Field(ge=1, le=12)] = 10,
) -> Figure:
    """Draw the images of `samples`: a row per evaluation set, a column per class.

    Shows the first `columns` classes in the order of their labels, pixel for pixel.

    Raises `UserError` if the table has no such images.
    """
    samples = _samples(tables, dataset)
    eval_sets = style.ordered_sets(samples["eval_set"])
    classes = (
        samples.loc[:, ["label", "class"]].drop_duplicates().sort_values("label").head(columns)
    )
    images = _images(samples.loc[samples["label"].isin(classes["label"])])
    height, width, _ = next(iter(images.values())).shape
    aspect = height / width

    figure = style.new(
        style.PAGE_WIDTH, 0.25 + aspect * len(eval_sets) * (style.PAGE_WIDTH - 0.9) / len(classes)
    )
    ax = figure.subplots()
    for line, eval_set in enumerate(eval_sets):
        for column, label in enumerate(classes["label"]):
            if (eval_set, label) in images:
                top = line * aspect
                extent = (column, column + 1 - GAP, top + aspect - GAP, top)
                ax.imshow(images[eval_set, label], extent=extent)
    middle = (1 - GAP) / 2
    ax.set(xlim=(-GAP, len(classes)), ylim=(aspect * len(eval_sets), -GAP))
    ax.set_xticks(np.arange(len(classes)) + middle, classes["class"].map(style.display))
    ax.set_yticks(
        aspect * np.arange(len(eval_sets)) + (aspect - GAP) / 2,
        [style.set_title(s).replace(": ", "\n") for s in eval_sets],
    )
    ax.tick_params(length=0, labelbottom=False, labeltop=True, pad=2)
    ax.spines[:].set_visible(False)
    ax.grid(False)
    return figure


def title(tables: Mapping[str, pd.DataFrame], *, dataset: str, columns: int = 10) -> str:
    """State the share of the pixels that the cue changes, on average over these images."""
    images = _images(_samples(tables, dataset))
    bare = {label: image for (eval_set, label), image in images.items() if eval_set == "nc"}
    cued = {label: image for (eval_set, label), image in images.items() if eval_set == "c"}
    changed = [(bare[k] != cued[k]).any(axis=2).mean() for k in bare.keys() & cued.keys()]
    return f"The cue changes {style.percent(float(np.mean(changed)))} of an image's pixels"


def caption(*, dataset: str, columns: int = 10) -> str:
    """Describe what `draw` shows with the same options."""
    return (
        f"One test image of each of the first {columns} classes of {style.dataset(dataset)} in the "
        "four test sets: without the cue, with the cue of its class, with a random cue, and a "
        "random image with the cue of the label."
    )


def _samples(tables: Mapping[str, pd.DataFrame], dataset: str) -> pd.DataFrame:
    """Return the samples of a dataset that are images."""
    images = {"samples": rows.select(tables, "samples").dropna(subset=["png"])}
    return rows.select(images, "samples", dataset=dataset)


def _images(samples: pd.DataFrame) -> dict[tuple[str, int], np.ndarray]:
    """Return an image [H, W, 3] of each evaluation set and label."""
    return {
        (eval_set, label): np.asarray(Image.open(BytesIO(b64decode(png))).convert("RGB"))
        for eval_set, label, png in zip(
            samples["eval_set"], samples["label"], samples["png"], strict=True
        )
    }
