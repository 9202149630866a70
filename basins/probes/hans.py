"""HANS: does a model of inference follow a heuristic (McCoy et al. 2019; LCRGS, section 2)?

| slice | rows |
|---|---|
| `test` | in-domain |
| `<heuristic>/<label>` | the heuristic is right about entailment, wrong about non-entailment |
| `<heuristic>/<label>/<subcase>` | of those, one of the 30 subcases |
| `<heuristic>/<label>/<subcase>/<template>` | of those, the pairs of one template |

LCRGS's headline slice, HANS-LO, is `lexical_overlap/non-entailment`. In the name of a subcase `-`
stands for HANS's `/`. A file without subcases or templates has the slices that it can have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from basins.data.images import Evaluation
from basins.probes.binary import BASE, commonest

SETS = ("test", "hans")
LABELS = ("entailment", "non-entailment")
LEVELS = ("heuristic", "label", "subcase", "template")


def measures(
    evaluations: Mapping[str, Evaluation], columns: Mapping[str, Mapping[str, Sequence]]
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (slice, metric, value of each example [n]) of one model: accuracy and loss (nats).

    And the base rate in domain. `columns["hans"]` has heuristic, label (0 is entailment) and,
    perhaps, subcase and template.
    """
    yield "test", BASE, commonest(columns["test"]["label"])
    for metric, values in _named(evaluations["test"]):
        yield "test", metric, values
    hans = columns["hans"]
    parts = [[_part(level, value) for value in hans[level]] for level in LEVELS if level in hans]
    for depth in range(2, len(parts) + 1):
        slices = np.array(["/".join(row) for row in zip(*parts[:depth], strict=True)])
        for name in dict.fromkeys(slices.tolist()):
            for metric, values in _named(evaluations["hans"]):
                yield name, metric, values[slices == name]


def _part(level: str, value: str | int) -> str:
    return LABELS[int(value)] if level == "label" else str(value).replace("/", "-")


def _named(evaluation: Evaluation) -> Iterator[tuple[str, np.ndarray]]:
    yield "accuracy", evaluation.correct
    yield "loss", evaluation.losses
