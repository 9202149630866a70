"""Which rows a mixture replaces and spoils: as many as it says, the same ones for larger shares."""

from __future__ import annotations

import pytest

from basins.data.mixture import mix
from basins.errors import UserError

CLASSES = ("a", "b", "c")
TRAIN = {"sentence": [f"t{i}" for i in range(1000)], "label": [i % 3 for i in range(1000)]}
POOL = {"sentence": [f"p{i}" for i in range(400)], "label": [2] * 400, "kind": ["x"] * 400}


def mixed(counterexamples: float = 0, noise: float = 0, seed: int = 0, **changed):
    given = {"train": TRAIN, "pool": POOL, "classes": CLASSES} | changed
    return mix(counterexamples=counterexamples, noise=noise, seed=seed, **given)


def replaced(rows) -> dict[int, str]:
    return {i: s for i, s in enumerate(rows["sentence"]) if s[0] == "p"}


def spoiled(rows) -> dict[int, int]:
    return {i: k for i, k in enumerate(rows["label"]) if k != TRAIN["label"][i]}


def test_nothing_to_mix_is_the_training_rows() -> None:
    assert mixed() == TRAIN
    assert mixed(pool=None) == TRAIN
    assert mixed(train=TRAIN | {"kind": ["x"] * 1000}) == TRAIN


def test_as_many_rows_are_replaced_each_by_another() -> None:
    rows = mixed(0.25)
    found = replaced(rows)
    assert len(found) == len(set(found.values())) == 250
    for i, sentence in enumerate(rows["sentence"]):
        assert (sentence, rows["label"][i]) in ((f"t{i}", i % 3), (found.get(i), 2))
    assert TRAIN["sentence"][0] == "t0" and len(TRAIN) == 2


def test_as_many_labels_are_wrong() -> None:
    rows = mixed(noise=0.3)
    assert rows["sentence"] == TRAIN["sentence"] and len(spoiled(rows)) == 300
    steps = [(k - TRAIN["label"][i]) % 3 for i, k in spoiled(rows).items()]
    assert 100 < sum(step == 1 for step in steps) < 200  # either wrong class
    assert all(type(k) is int for k in rows["label"])


def test_larger_shares_contain_smaller_ones() -> None:
    few, many = replaced(mixed(0.1)), replaced(mixed(0.3))
    assert few.items() <= many.items()
    few, many = spoiled(mixed(noise=0.1)), spoiled(mixed(noise=0.3))
    assert few.items() <= many.items()


def test_the_two_shares_are_drawn_apart() -> None:
    both = mixed(0.2, 0.2)
    assert replaced(both) == replaced(mixed(0.2))
    wrong = {i for i, k in enumerate(both["label"]) if k != mixed(0.2)["label"][i]}
    assert wrong == set(spoiled(mixed(noise=0.2)))
    assert 20 < len(wrong & set(replaced(both))) < 60  # 40 expected


def test_the_seed_decides() -> None:
    assert mixed(0.1, 0.1) == mixed(0.1, 0.1)
    assert replaced(mixed(0.1)).keys() != replaced(mixed(0.1, seed=1)).keys()
    assert spoiled(mixed(noise=0.1)).keys() != spoiled(mixed(noise=0.1, seed=1)).keys()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"counterexamples": 0.401}, "0.401 of 1000 rows are 401, but the dataset has 400"),
        ({"counterexamples": 0.1, "pool": None}, "no counterexamples with the columns sentence"),
        ({"counterexamples": 0.1, "pool": {"line": [], "label": []}}, "no counterexamples with"),
    ],
)
def test_a_pool_that_does_not_do_is_refused(options, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        mixed(**options)
    assert len(replaced(mixed(0.4))) == 400
