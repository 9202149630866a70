"""Which models are joined, and what they are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from basins.errors import UserError
from basins.nets.control import Control
from basins.paths.pairs import pairs

A0, A1, B0 = Path("models/a/seed0"), Path("models/a/seed1"), Path("models/b/seed0")
SMALL, LARGE = (
    [Path(f"models/tuned/{label}/seed{k}") for k in (0, 1)] for label in ("small", "large")
)


def test_all_and_between():
    assert pairs([A0, A1], [B0], "all") == [(A0, A1), (A0, B0), (A1, B0)]
    assert pairs([A0, A1], [B0], "between") == [(A0, B0), (A1, B0)]
    assert pairs([A0, A1], [A0, A1], "all") == pairs([A0, A1], [A0, A1], "between") == [(A0, A1)]


@pytest.mark.parametrize("which", ["between", "seed"])
def test_models_that_are_starts_and_ends_are_paired_once(which):
    assert pairs([A0, B0], [B0, A0, SMALL[0]], which) == [
        (A0, B0),
        (A0, SMALL[0]),
        (B0, SMALL[0]),
    ]


def test_pairs_within_a_variant():
    assert pairs([*SMALL, *LARGE], [*SMALL, *LARGE], "within") == [tuple(SMALL), tuple(LARGE)]


def test_a_ring_has_every_model_in_two_pairs():
    three = [*SMALL, LARGE[0]]
    assert pairs(three, three, "ring") == [
        (three[0], three[1]),
        (three[1], three[2]),
        (three[2], three[0]),
    ]
    assert pairs(SMALL, SMALL, "ring") == [tuple(SMALL)]


def test_pairs_of_one_seed():
    assert pairs([A0, A1], [B0], "seed") == [(A0, B0)]
    assert pairs([A0, A1], [*SMALL, *LARGE], "seed") == [
        (A0, SMALL[0]),
        (A0, LARGE[0]),
        (A1, SMALL[1]),
        (A1, LARGE[1]),
    ]


@pytest.mark.parametrize(
    ("ends", "which"), [([A1], "seed"), ([A0], "seed"), ([A0], "all"), ([A0], "ring")]
)
def test_no_pair_is_one_line(ends, which):
    with pytest.raises(UserError, match=f"^pairs: {which} leaves none of models/a and models/a; "):
        pairs([A0], ends, which)


def test_a_model_is_called_by_its_folder():
    assert str(Control(A0, "hash")) == "a/seed0"
    assert str(Control(SMALL[1], "hash")) == "tuned/small/seed1"
    assert str(Control(Path(".cache/fits/0123"), "hash")) == ".cache/fits/0123"
