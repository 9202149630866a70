"""PAWS and CoLA: readers of known strategy, and what of their answers makes F1 and MCC."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from basins.data import paraphrase
from basins.data.images import Evaluation
from basins.probes import cola, paws
from basins.statistics.examples import estimate


def evaluation(predicted, true) -> Evaluation:
    correct = np.array(predicted, bool) == np.array(true, bool)
    return Evaluation((~correct).astype(np.float32), correct)


@pytest.mark.parametrize(("probe", "score", "ood"), [(paws, "f1", "paws"), (cola, "mcc", "ood")])
def test_answers_are_recovered(probe, score: str, ood: str) -> None:
    assert list(probe.SETS) == ["test", ood]
    true, predicted = [0, 0, 1, 1, 1], [0, 1, 0, 1, 1]
    sets = {"test": evaluation([1], [1]), ood: evaluation(predicted, true)}
    columns = {"test": {"label": [1]}, ood: {"label": true, "kind": ["x"] * 5}}
    found = {row[:2]: row[2] for row in probe.measures(sets, columns)}
    known = [(name, m) for name in ("test", ood) for m in ("accuracy", "loss", score)]
    assert list(found) == [("test", "base_rate"), *known]
    assert found[ood, "accuracy"].tolist() == [True, False, False, True, True]
    assert found[ood, "loss"].tolist() == [0, 1, 1, 0, 0]
    answers = found[ood, score]
    assert answers.dtype == bool and answers.T.tolist() == [
        [bool(k) for k in predicted],
        [bool(k) for k in true],
    ]


def test_a_bag_of_words_calls_all_of_paws_duplicates() -> None:
    """LCRGS's weaker strategy: recall 1 and precision .28, so F1 is 2 x .28 / 1.28."""
    sizes = {"train": 10, "test": 500, "diagnostic": 500, "counterexamples": 1}
    splits = paraphrase.load(source="synthetic", root=Path(), seed=0, **sizes).splits

    def bag(columns) -> Evaluation:
        pairs = zip(columns["question1"], columns["question2"], strict=True)
        same = [Counter(a.lower().split()) == Counter(b.lower().split()) for a, b in pairs]
        return evaluation(same, columns["label"])

    sets = {name: bag(splits[name]) for name in paws.SETS}
    found = {row[:2]: row[2] for row in paws.measures(sets, splits)}
    assert found["test", "accuracy"].mean() == 0.97  # all but the counterexamples
    duplicates = np.mean(splits["test"]["label"])
    assert found["test", "base_rate"].mean() == max(duplicates, 1 - duplicates)
    assert found["paws", "accuracy"].mean() == 0.28
    assert estimate("f1", found["paws", "f1"], 0.95)[0] == pytest.approx(2 * 0.28 / 1.28)
