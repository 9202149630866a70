"""Which class of a network is which of the data: by names, or not at all."""

from __future__ import annotations

import pytest

from basins.data.classes import key, matched
from basins.errors import UserError

MNLI = ("entailment", "neutral", "contradiction")
HANS = ("entailment", "non-entailment")


@pytest.mark.parametrize(
    ("network", "data", "expected"),
    [
        (MNLI, MNLI, ([0, 1, 2], None)),
        (("CONTRADICTION", "NEUTRAL", "ENTAILMENT"), MNLI, ([2, 1, 0], None)),
        (("Not Duplicate", "Duplicate"), ("duplicate", "not_duplicate"), ([1, 0], None)),
        (MNLI, ("contradiction", "entailment"), ([2, 0], None)),  # a set without the third
        (("LABEL_0", "LABEL_1", "LABEL_2"), ("0", "1", "2"), ([0, 1, 2], None)),
        (MNLI, HANS, ([0, 1], [0, 1, 1])),
        (("contradiction", "ENTAILMENT", "neutral"), HANS, ([0, 1], [1, 0, 1])),
        (MNLI, ("not_entailment", "entailment"), ([0, 1], [1, 0, 0])),
        (("a", "b", "b"), ("b", "a"), ([0, 1], [1, 0, 0])),  # two outputs of one name, as told
        (("a", "b", "b", "c"), ("b", "a"), ([0, 1], [1, 0, 0, 2])),  # and one of neither
    ],
)
def test_classes_are_matched_by_their_names(network, data, expected):
    assert matched(network, data, "here") == expected


@pytest.mark.parametrize(
    ("network", "data"),
    [
        (MNLI, ("acceptable", "unacceptable")),
        (("LABEL_0", "LABEL_1", "LABEL_2"), MNLI),
        (MNLI, ("0", "1", "2")),
        (MNLI, ("entailment", "contradictory")),  # it might be contradiction alone
        (MNLI, ("non-entailment", "unsure")),
        (("entailment", "not_entailment"), MNLI),
        (("a", "b"), ("A", "a")),
        (("a", "b"), ("c",)),
    ],
)
def test_nothing_is_assumed_where_names_do_not_match(network, data):
    with pytest.raises(UserError, match="^here: its classes .*--labels NAME=NUMBER") as caught:
        matched(network, data, "here")
    assert all(name in str(caught.value) for name in (*network, *data))


def test_a_long_list_stays_a_line():
    with pytest.raises(UserError, match="and 988 more") as caught:
        matched([f"n{k}" for k in range(1000)], [f"d{k}" for k in range(1000)], "here")
    assert len(str(caught.value)) < 1000


def test_what_of_a_name_counts():
    assert key("LABEL_03") == key(3) == "3"
    assert key("Not-Entailed ") == key("not_entailed") != key("entailed")
    assert key("9" * 5000) == "9" * 5000
