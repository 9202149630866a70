"""Numbers that *Mechanistic Mode Connectivity* reports: its Tables 1 and 4."""

from __future__ import annotations

from math import isfinite, nan
from typing import Annotated

from pydantic import Field

SETS = ("nc", "c", "rc", "ri")
SCRATCH = (47.5, nan, nan, nan)

PUBLISHED = {
    "cifar10": {
        "60": {
            "medium": (75.7, 98.4, 23.6, 83.4),
            "small": (75.8, 98.7, 17.5, 90.1),
            "llrt": (71.6, 95.1, 36.3, 57.1),
            "lpft": (70.6, 88.1, 21.0, 70.7),
            "cbft": (74.1, 71.5, 73.4, 8.75),
            "scratch": SCRATCH,
        },
        "70": {
            "medium": (75.8, 98.6, 27.7, 78.6),
            "small": (74.9, 98.8, 16.3, 91.1),
            "llrt": (70.9, 95.8, 29.9, 65.8),
            "lpft": (69.6, 87.3, 18.7, 72.5),
            "cbft": (73.2, 69.2, 72.3, 8.60),
            "scratch": SCRATCH,
        },
        "80": {
            "medium": (71.3, 97.7, 37.6, 63.6),
            "small": (69.9, 98.4, 15.7, 90.9),
            "llrt": (65.1, 81.8, 27.0, 53.2),
            "lpft": (64.4, 63.8, 18.8, 48.0),
            "cbft": (70.0, 70.0, 69.5, 9.68),
            "scratch": SCRATCH,
        },
        "90": {
            "medium": (67.2, 95.4, 49.6, 46.6),
            "small": (64.7, 97.9, 15.3, 90.7),
            "llrt": (59.3, 70.7, 24.6, 40.7),
            "lpft": (59.7, 56.6, 19.8, 37.8),
            "cbft": (67.9, 72.5, 68.1, 13.1),
            "scratch": SCRATCH,
        },
    },
    "cifar100": {
        "90": {
            "small": (nan, nan, nan, 30.9),
            "lpft": (nan, nan, nan, 19.6),
            "cbft": (nan, nan, nan, 46.0),
        },
    },
}
"""Accuracy (%) as published, by dataset, cue proportion (%) and method, on `SETS`.

Means of three seeds. Table 1 on CIFAR-10: the authors' ICML 2023 poster; CIFAR-100 and Table 4
(from scratch, whatever the proportion): as others quote them from the paper. Not known: not a
number.
"""

Cell = Annotated[str, Field(pattern=r"^cifar100?/\d+$")]
"""A dataset and its cue proportion in percent: `cifar10/80`."""


def reported(cell: Cell | None, method: str, eval_set: str) -> float | None:
    """Return the accuracy of a method's models on a set as published, a share, if it is known."""
    dataset, _, proportion = (cell or "/").partition("/")
    row = PUBLISHED.get(dataset, {}).get(proportion, {}).get(method)
    value = row[SETS.index(eval_set)] / 100 if row else nan
    return value if isfinite(value) else None


def less(first: float | None, second: float | None) -> float | None:
    """Return the difference of two published numbers where both are known."""
    return None if first is None or second is None else first - second
