"""A few examples of every evaluation set, small enough to be stored with the results in git."""

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
"""The most examples of a set."""

COLUMNS = ["dataset", "eval_set", "example", "label", "class", "png", "text"]
"""Columns of their rows: `example` is the index in its set; `png` is base64."""

POOLS = ("train", "counterexamples")
"""Splits of a text dataset that are not evaluated."""


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
    """Yield the first texts of each kind of every labelled set, as rows, one sentence per line."""
    for name in classes:
        if name not in POOLS:
            columns = splits[name]
            sentences = fields(columns)
            for k in chosen(pd.DataFrame(columns).drop(columns=[*sentences])):
                told = _row(dataset, name, k, columns["label"][k], classes[name])
                yield {**told, "text": "\n".join(columns[field][k] for field in sentences)}


def table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows, of which there may be none, as a table."""
    return pd.DataFrame(rows, columns=COLUMNS)


def chosen(columns: pd.DataFrame, each: int = MOST) -> list[int]:
    """Return the indices of examples that represent a set, sorted by label and then by index.

    Kinds are labels, or combinations of labels and one other column, such as HANS's subcases, if
    these are more but at most ten. The same number of examples, the first, is taken of each.

    Args:
        columns: every example's `label` and other columns that distinguish kinds.
        each: the most examples of a kind.
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
