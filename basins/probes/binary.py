"""Shared by diagnostics, in particular those with two classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from basins.data.images import Evaluation
from basins.results import BASE


def commonest(labels: Sequence[int]) -> np.ndarray:
    """Return whether each of the labels [n] is the most frequent one, bool [n]."""
    return np.array(labels) == np.bincount(labels).argmax()


def told(
    sets: Sequence[str],
    score: str,
    evaluations: Mapping[str, Evaluation],
    columns: Mapping[str, Mapping[str, Sequence]],
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (set, metric, values): accuracy, loss (nats) and `score` on each of the sets.

    The values of the score are bool [n, 2]: the predicted class, and the true one, which is
    `columns[set]["label"]`, 0 or 1. The first set, in distribution, also has the base rate.
    """
    yield sets[0], BASE, commonest(columns[sets[0]]["label"])
    for name in sets:
        losses, correct = evaluations[name]
        true = np.array(columns[name]["label"], dtype=bool)
        yield name, "accuracy", correct
        yield name, "loss", losses
        yield name, score, np.stack([true == correct, true], axis=1)
