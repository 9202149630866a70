"""A stratified part: every class in its proportion, no example twice, fixed by the seed."""

import numpy as np
import pytest

from basins.data.sampling import stratified
from basins.errors import UserError

LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [50, 30, 20]))


def chosen(size: int, seed: int) -> list[int]:
    numbers = stratified(LABELS, size, seed).tolist()
    assert len(set(numbers)) == len(numbers) == size
    return numbers


@pytest.mark.parametrize("size", [10, 20, 50, 90])
def test_every_class_is_there_in_its_proportion(size: int) -> None:
    counts = np.bincount(LABELS[chosen(size, 0)])
    np.testing.assert_array_equal(counts, np.array([5, 3, 2]) * size // 10)


def test_the_seed_decides_which_and_in_which_order() -> None:
    assert chosen(30, 1) == chosen(30, 1)
    assert set(chosen(30, 1)) != set(chosen(30, 2))
    assert chosen(30, 1) != sorted(chosen(30, 1))


def test_classes_are_mixed() -> None:
    assert len(set(LABELS[chosen(60, 0)[:20]])) == 3


def test_all_of_them_keep_their_order() -> None:
    assert chosen(100, 0) == list(range(100))


@pytest.mark.parametrize("size", [0, 2, 98, 101, 10**9])
def test_a_size_that_cannot_be_drawn_is_refused(size: int) -> None:
    with pytest.raises(UserError, match=f"^cannot draw {size} of 100 examples in 3 classes$"):
        stratified(LABELS, size, 0)
