"""Picking rows: one value, several in their order, any; models of groups have their recipes."""

from __future__ import annotations

import pandas as pd
import pytest

from basins.errors import UserError
from basins.figures import rows

TABLES = {"t": pd.DataFrame({"kind": ["a", "b", "a", "c"], "n": [0, 1, 2, 3]})}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("a", [0, 2]), (["c", "a"], [3, 0, 2]), (["a", "a"], [0, 2]), (None, [0, 1, 2, 3])],
)
def test_rows_come_in_the_order_of_the_values(wanted, found):
    assert rows.select(TABLES, "t", kind=wanted)["n"].tolist() == found


def test_a_number_picks_too():
    assert rows.select(TABLES, "t", n=1)["kind"].tolist() == ["b"]


def test_each_of_several_values_is_to_be_there():
    with pytest.raises(UserError, match="kind 'd'; there are: a, b, c"):
        rows.select(TABLES, "t", kind=["a", "d"])


def test_a_model_of_a_group_has_its_method_in_its_recipe():
    assert (rows.recipe("tuned/small/seed12"), rows.seed("tuned/small/seed12")) == (
        "tuned/small",
        12,
    )


def test_tables_remember_what_was_read():
    watched = rows.Watched({**TABLES, "other": TABLES["t"]})
    rows.select(watched, "t", n=1)
    assert [*watched.read] == ["t"] and [*watched] == ["t", "other"]


def test_models_are_called_by_seed_and_by_recipe_where_there_are_several():
    assert rows.called(["nocue/seed0", "nocue/seed10"]) == ["0", "10"]
    assert rows.called(["nocue/seed0", "cued/seed1"]) == ["no-cue, seed 0", "cue-trained, seed 1"]
