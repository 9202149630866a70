"""What a network of one label set makes of a split of another."""

from __future__ import annotations

import pytest

from basins.errors import UserError
from basins.nets.inputs import merging

MNLI = ("entailment", "neutral", "contradiction")
HANS = ("entailment", "non-entailment")


def test_classes_that_a_split_lacks_count_as_its_other_one():
    assert merging(MNLI, HANS, "here") == [0, 1, 1]
    assert merging(("contradiction", "entailment", "neutral"), HANS, "here") == [1, 0, 1]


def test_the_same_classes_in_another_order_are_found_by_name():
    """The released MNLI models have contradiction first, the hub's data entailment."""
    assert merging(("contradiction", "entailment", "neutral"), MNLI, "here") == [2, 0, 1]
    assert merging(MNLI, MNLI, "here") is None


def test_classes_that_do_not_belong_together_are_refused():
    with pytest.raises(UserError, match="here: its classes"):
        merging(MNLI, ("acceptable", "unacceptable"), "here")
