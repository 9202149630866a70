"""HANS, generated and real, against what strategies must score on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from basins.data import mnli, nli
from basins.data.images import Evaluation
from basins.data.text import Columns
from basins.probes import hans

Strategy = Callable[[list[str], list[str]], bool]  # whether a premise is taken to entail


def always(premise: list[str], hypothesis: list[str]) -> bool:
    return True


def lexical_overlap(premise: list[str], hypothesis: list[str]) -> bool:
    return set(hypothesis) <= set(premise)


def subsequence(premise: list[str], hypothesis: list[str]) -> bool:
    return f" {' '.join(hypothesis)} " in f" {' '.join(premise)} "


def scores(splits: dict[str, Columns], strategy: Strategy) -> dict[tuple[str, str], float]:
    """Return the mean of every slice and metric; the loss of an example is 1 where it is wrong."""

    def evaluation(columns: Columns) -> Evaluation:
        words = ([s.lower().strip(" .").split() for s in columns[k]] for k in columns)
        premises, hypotheses = next(words), next(words)
        says = [strategy(a, b) for a, b in zip(premises, hypotheses, strict=True)]
        correct = np.array(says) == (np.array(columns["label"]) == 0)
        return Evaluation((~correct).astype(np.float32), correct)

    sets = {name: evaluation(splits[name]) for name in hans.SETS}
    return {row[:2]: float(row[2].mean()) for row in hans.measures(sets, splits)}


@pytest.fixture(scope="module")
def generated() -> dict[str, Columns]:
    sizes = {"train": 10, "test": 1000, "diagnostic": 30, "counterexamples": 1}
    return nli.load(source="synthetic", root=Path(), seed=0, **sizes).splits


def of_hans(found: dict[tuple[str, str], float], depth: int) -> dict[str, float]:
    """Return the accuracy of the slices with that many parts."""
    return {
        name: value
        for (name, metric), value in found.items()
        if metric == "accuracy" and name != "test" and name.count("/") == depth - 1
    }


@pytest.mark.parametrize("strategy", [always, lexical_overlap])
def test_overlap_is_right_wherever_it_is_entailed(generated, strategy: Strategy) -> None:
    found = scores(generated, strategy)
    for depth in (2, 3, 4):
        accuracies = of_hans(found, depth)
        assert all(value == ("non" not in name.split("/")[1]) for name, value in accuracies.items())
    assert [len(of_hans(found, depth)) for depth in (2, 3)] == [6, 30]
    templates = [t for several in nli.templates().values() for t in several]
    assert len(of_hans(found, 4)) == len(templates)


def test_subsequence_fails_on_its_own_cases(generated) -> None:
    found = scores(generated, subsequence)
    accuracies = of_hans(found, 2)
    for heuristic in ("subsequence", "constituent"):
        assert accuracies[f"{heuristic}/entailment"] == 1
        assert accuracies[f"{heuristic}/non-entailment"] == 0
    assert accuracies["lexical_overlap/entailment"] == 0
    # All but one template of the prepositions has its words in another order.
    preposition = {n: v for n, v in of_hans(found, 4).items() if "/ln_preposition/" in n}
    assert sorted(preposition.values()) == [0, 1, 1, 1, 1, 1]
    others = {n: v for n, v in of_hans(found, 3).items() if "/ln_" in n and "prepos" not in n}
    assert set(others.values()) == {1}


def test_in_domain_overlap_nearly_suffices(generated) -> None:
    """Only counterexamples (3 %) and the voice that adds words (under 5 %) are against it."""
    assert 0.91 < scores(generated, lexical_overlap)["test", "accuracy"] < 0.97
    entailed = 1 - np.mean(generated["test"]["label"])
    assert scores(generated, always)["test", "accuracy"] == pytest.approx(entailed)


def test_slices_by_hand() -> None:
    columns = {
        "label": [0, 1, 1],
        "heuristic": ["lexical_overlap"] * 3,
        "subcase": ["le_passive", "ln_subject/object_swap", "ln_passive"],
        "template": ["temp1", "temp2", "temp3"],
    }
    evaluation = Evaluation(np.float32([1, 2, 4]), np.array([True, False, True]))
    test = Evaluation(np.float32([3]), np.array([False]))
    domain = {"label": [1, 0, 1]}
    rows = hans.measures({"test": test, "hans": evaluation}, {"test": domain, "hans": columns})
    found = {row[:2]: row[2].tolist() for row in rows}
    wrong = "lexical_overlap/non-entailment"
    assert found["test", "loss"] == [3] and found["test", "accuracy"] == [False]
    assert found[wrong, "loss"] == [2, 4] and found[wrong, "accuracy"] == [False, True]
    assert found[f"{wrong}/ln_subject-object_swap", "loss"] == [2]
    assert found[f"{wrong}/ln_subject-object_swap/temp2", "loss"] == [2]
    assert found["lexical_overlap/entailment", "loss"] == [1]
    assert found["test", "base_rate"] == [True, False, True]
    assert len(found) == 1 + 2 * (1 + 2 + 3 + 3)
    del columns["template"], columns["subcase"]
    # An entailed passive, a swap, and what is of no template.
    passive = "The judges were helped by the actor ."
    columns["premise"] = [passive, "The actor saw the judge .", "The sun shines ."]
    columns["hypothesis"] = [
        "The actor helped the judges .",
        "The judge saw the actor .",
        "It does .",
    ]
    rows = hans.measures({"test": test, "hans": evaluation}, {"test": domain, "hans": columns})
    found = {row[:2]: row[2].tolist() for row in rows}
    assert found["hans", "recovered"] == [True, True, False]
    assert found[wrong, "loss"] == [2, 4] and found[f"{wrong}/ln_subject-object_swap", "loss"] == [
        2
    ]
    assert found["lexical_overlap/entailment/le_passive", "loss"] == [1]
    assert len(found) == 1 + 1 + 2 * (1 + 2 + 2)


@pytest.mark.real
@pytest.mark.parametrize("strategy", [always, lexical_overlap, subsequence])
def test_the_real_file(strategy: Strategy) -> None:
    root = Path(os.environ.get("BASINS_DATA", ""))
    if not os.environ.get("BASINS_DATA") or not (root / "text" / "hans").is_dir():
        pytest.skip("BASINS_DATA names no folder with text/hans/")
    splits = mnli.load(source="files", root=root, seed=0, train=10, test=10).splits
    every = scores(splits, strategy)
    found = of_hans(every, 2)
    assert len(found) == 6 and len(of_hans(every, 3)) == 30 and every["hans", "recovered"] == 1
    for name, accuracy in found.items():
        in_order = strategy is not subsequence or not name.startswith("lexical")
        assert accuracy == (in_order != ("non" in name)), name
