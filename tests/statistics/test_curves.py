"""What becomes of chosen examples along curves, from what a network answers on each of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from basins.data.images import Evaluation
from basins.data.samples import of_text, table
from basins.data.tokens import tokens
from basins.paths.evaluation import evaluate
from basins.paths.experiment import Joined
from basins.statistics.curves import samples

JOINED: Any = Joined("a", "b", "linear", "none")  # pyright: ignore[reportArgumentType]


def experiment(curves: dict[tuple[str, str], list[Evaluation]]) -> Any:
    return SimpleNamespace(losses=lambda joined, ts: SimpleNamespace(curves=curves))


def planted(right: list[list[int]]) -> list[Evaluation]:
    """Return evaluations at points of which examples [points, n] are right."""
    return [Evaluation(np.zeros(len(row)), np.array(row, dtype=bool)) for row in right]


def test_an_outcome_is_that_of_the_examples_asked_for_point_by_point():
    curves = {
        ("reset", "nc"): planted([[1, 0, 0, 1], [0, 1, 1, 1]]),
        ("moving", "nc"): planted([[1, 1, 1, 0], [0, 0, 0, 0]]),
        ("reset", "c"): planted([[0, 1], [1, 1]]),
        ("reset", "ri"): planted([[0], [1]]),
    }
    shown = pd.DataFrame({"eval_set": ["nc", "nc", "c"], "example": [3, 1, 0]})
    rows = samples(experiment(curves), {JOINED: (0.0, 1.0)}, shown)
    told = [("reset", "nc", "+- ++"), ("moving", "nc", "-+ --"), ("reset", "c", "- +")]
    keys = ("batchnorm", "eval_set", "outcomes")
    wanted = [JOINED.ids() | dict(zip(keys, row, strict=True)) for row in told]
    assert rows.to_dict("records") == wanted


def test_without_examples_there_are_columns_and_no_rows():
    rows = samples(experiment({("reset", "nc"): planted([[1]])}), {JOINED: (0.0,)}, table([]))
    assert rows.empty and [*rows] == [*JOINED.ids(), "batchnorm", "eval_set", "outcomes"]


class First(nn.Module):
    """Answers the label that a row's first token is."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, ids, mask, types):
        return 5 * self.scale * nn.functional.one_hot(ids[:, 0], 2).float()


def test_of_texts_batched_by_length_each_sample_has_its_own_outcome():
    draw = np.random.default_rng(0)
    labels, answers = draw.integers(0, 2, (2, 300))
    assert (labels == answers).any() and (labels != answers).any()
    ids = [[int(k), *[2] * int(n)] for k, n in zip(answers, draw.integers(0, 40, 300), strict=True)]
    columns = {
        "sentence": [f"{k} {len(row)}" for k, row in enumerate(ids)],
        "label": labels.tolist(),
        "kind": [("same", "other")[int(k != a)] for k, a in zip(labels, answers, strict=True)],
    }
    placed = tokens(
        ids, [[0] * len(row) for row in ids], labels.tolist(),
        pad=0, limit=64, device=torch.device("cpu"), where="mine",
    )  # fmt: skip
    assert placed.order.tolist() != [*range(300)]
    shown = table(of_text("mine", {"test": columns}, {"test": ("no", "yes")}))
    curves = {("interpolate", "test"): [evaluate(First().eval(), placed)]}
    rows = samples(experiment(curves), {JOINED: (0.0,)}, shown)
    kinds = [columns["kind"][k] for k in shown["example"]]
    assert set(kinds) == {"same", "other"}
    told = "".join("+" if kind == "same" else "-" for kind in kinds)
    assert rows["outcomes"].tolist() == [told]
