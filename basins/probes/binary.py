"""What diagnostics with two classes have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from basins.data.images import Evaluation


def told(
    sets: Sequence[str],
    score: str,
    evaluations: Mapping[str, Evaluation],
    columns: Mapping[str, Mapping[str, Sequence]],
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (set, metric, values): accuracy, loss (nats) and `score` on each of the sets.

    The values of the score are bool [n, 2]: the predicted class, and the true one, which is
    `columns[set]["label"]`, 0 or 1.
    """
    for name in sets:
        losses, correct = evaluations[name]
        true = np.array(columns[name]["label"], dtype=bool)
        yield name, "accuracy", correct
        yield name, "loss", losses
        yield name, score, np.stack([true == correct, true], axis=1)
