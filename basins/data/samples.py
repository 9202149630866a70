"""A few examples of every evaluation set, small enough to lie beside the results in git."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from basins.data.images import Split
from basins.data.text import Columns, fields

MOST = 10
"""As many examples of a set at most."""

COLUMNS = ["dataset", "eval_set", "example", "label", "class", "png", "text"]
"""Of their rows: `example` is the index in its set; `png` (base64) or `text` is what it is."""

POOLS = ("train", "counterexamples")
"""Splits of a text that nothing is evaluated on."""


def of_images(
    dataset: str, sets: Mapping[str, Split], classes: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    """Yield the first image of each of the first ten classes of every set, as a row."""
    for name, split in sets.items():
        for k in chosen(pd.DataFrame({"label": split.labels}), each=1):
            told = _row(dataset, name, k, split.labels[k], classes)
            yield {**told, "png": _png(split.images[k])}


def of_text(
    dataset: str, splits: Mapping[str, Columns], classes: Mapping[str, tuple[str, ...]]
) -> Iterator[dict[str, Any]]:
    """Yield the first texts of each kind of every labelled set, as rows, a sentence a line."""
    for name in classes:
        if name not in POOLS:
            columns = splits[name]
            sentences = fields(columns)
            for k in chosen(pd.DataFrame(columns).drop(columns=[*sentences])):
                told = _row(dataset, name, k, columns["label"][k], classes[name])
                yield {**told, "text": "\n".join(columns[field][k] for field in sentences)}


def table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as a table; there may be none."""
    return pd.DataFrame(rows, columns=COLUMNS)


def chosen(columns: pd.DataFrame, each: int = MOST) -> list[int]:
    """Return which examples stand for a set: their indices, by label and then in their order.

    Args:
        columns: of every example its `label` and whatever else tells kinds apart.
        each: as many of a kind at most.

    Kinds are labels, or where that makes more of them, yet no more than ten, what the labels and
    one other column tell apart, such as HANS's subcases. Of all equally many are taken, the first.
    """
    known = [columns.groupby(["label"])]
    known += [columns.groupby(["label", name]) for name in columns if name != "label"]
    few = [kinds for kinds in known if kinds.ngroups <= MOST]
    kinds = max(few or known[:1], key=lambda kinds: kinds.ngroups)
    first = kinds.head(min(each, max(1, MOST // kinds.ngroups)))
    return first.sort_values("label", kind="stable").index[:MOST].tolist()


def _row(
    dataset: str, eval_set: str, example: int, label: int, classes: tuple[str, ...]
) -> dict[str, Any]:
    return dict(zip(COLUMNS, (dataset, eval_set, example, label, classes[label]), strict=False))


def _png(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()
