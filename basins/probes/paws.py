"""PAWS: does a model of paraphrase use more than a bag of words (LCRGS, section 2)?

The slices are `test`, in distribution, and `paws`, pairs with the same words of which about 28 %
are duplicates. The paper's metric is F1 of the class `duplicate`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from basins.data.images import Evaluation
from basins.probes.binary import told

SETS = ("test", "paws")


def measures(
    evaluations: Mapping[str, Evaluation], columns: Mapping[str, Mapping[str, Sequence]]
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (slice, metric, values) of one model: accuracy and loss (nats) of each example [n].

    Also F1, whose values bool [n, 2] are the predicted and the true class.
    """
    yield from told(SETS, "f1", evaluations, columns)
