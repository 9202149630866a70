"""HANS: does a model of inference follow a heuristic (McCoy et al. 2019; LCRGS, section 2)?

| slice | rows |
|---|---|
| `test` | in distribution |
| `<heuristic>/<label>` | the heuristic is right for entailment, wrong for non-entailment |
| `<heuristic>/<label>/<subcase>` | of those, one of the 30 subcases |
| `<heuristic>/<label>/<subcase>/<template>` | of those, the pairs of one template |

LCRGS's main slice, HANS-LO, is `lexical_overlap/non-entailment`. In the name of a subcase `-`
replaces HANS's `/`. A file without templates has no slices for them; if it has no subcases, they
are recovered from the words (`subcases.py`), and `recovered` on the slice `hans` is the recovered
share: other pairs are only in the wider slices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from basins.data.images import Evaluation
from basins.probes.binary import commonest
from basins.probes.subcases import recovered
from basins.results import BASE

SETS = ("test", "hans")
LABELS = ("entailment", "non-entailment")
LEVELS = ("heuristic", "label", "subcase", "template")


def measures(
    evaluations: Mapping[str, Evaluation], columns: Mapping[str, Mapping[str, Sequence]]
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (slice, metric, value of each example [n]) of one model: accuracy and loss (nats).

    Also the base rate in distribution. `columns["hans"]` has heuristic, label (0 is entailment),
    and subcase and possibly template, or else the sentences.
    """
    yield "test", BASE, commonest(columns["test"]["label"])
    for metric, values in _named(evaluations["test"]):
        yield "test", metric, values
    hans = columns["hans"]
    if "subcase" not in hans:
        hans = {**hans, "subcase": recovered(hans)}
        yield "hans", "recovered", np.array(hans["subcase"]) != ""
    parts = [[_part(level, value) for value in hans[level]] for level in LEVELS if level in hans]
    for depth in range(2, len(parts) + 1):
        rows = zip(*parts[:depth], strict=True)
        slices = np.array(["/".join(row) if all(row) else "" for row in rows])
        for name in filter(None, dict.fromkeys(slices.tolist())):
            for metric, values in _named(evaluations["hans"]):
                yield name, metric, values[slices == name]


def _part(level: str, value: str | int) -> str:
    return LABELS[int(value)] if level == "label" else str(value).replace("/", "-")


def _named(evaluation: Evaluation) -> Iterator[tuple[str, np.ndarray]]:
    yield "accuracy", evaluation.correct
    yield "loss", evaluation.losses
