"""CoLA: does a model of acceptability generalise to unseen constructions (LCRGS, section 2)?

The slices are `test`, in distribution, and `ood`, from other sources than the training sentences.
The paper's metric is Matthews's correlation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from basins.data.images import Evaluation
from basins.probes.binary import told

SETS = ("test", "ood")


def measures(
    evaluations: Mapping[str, Evaluation], columns: Mapping[str, Mapping[str, Sequence]]
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (slice, metric, values) of one model: accuracy and loss (nats) of each example [n].

    Also `mcc`, whose values bool [n, 2] are the predicted and the true class.
    """
    yield from told(SETS, "mcc", evaluations, columns)
