"""The tree merges where the rows say, and the heatmap is in its order."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from basins.errors import UserError
from basins.figures import merge_tree, style
from basins.landscape.persistence import of_graph
from basins.registry import check_options

BARRIERS = np.array(
    [[0, 0.9, 0.1, 0.8], [0.9, 0, 0.5, 0.2], [0.1, 0.5, 0, 0.7], [0.8, 0.2, 0.7, 0]]
)
SEEDS = (0, 2, 10, 11)


@pytest.fixture
def tables():
    pairs = [
        {"quantity": "barrier", "models": f"nli/seed{SEEDS[i]} + nli/seed{SEEDS[j]}",
         "value": BARRIERS[i, j]}
        for i, j in reversed([*combinations(range(4), 2)])
    ]  # fmt: skip
    noise = {"quantity": "noise", "models": "", "value": 0.06}
    found = pd.DataFrame([*pairs, noise]).assign(aspect="connectivity", test="D1", null=0, x=None)
    nulls = found.assign(null=1, value=99.0)
    return {"aspects/nli": pd.concat([found, nulls, found.assign(test="D2", value=98.0)])}


def test_merges_and_order_are_those_of_the_tree(tables):
    check_options(merge_tree.draw, {"aspect": "nli"}, "figure")
    figure = merge_tree.draw(tables, aspect="nli")
    left, right, _ = figure.axes
    heights = sorted(max(line.get_xdata()) for line in left.lines)
    assert heights == of_graph(BARRIERS).deaths[:-1].tolist()
    (band,) = left.patches
    assert band.get_bbox().intervalx.tolist() == [0, 0.12]
    shown = [text.get_text() for text in right.get_yticklabels()]
    assert set(shown) == {"0", "2", "10", "11"}
    order = [SEEDS.index(int(seed)) for seed in shown]
    drawn = np.asarray(right.collections[0].get_array()).reshape(4, 4)
    np.testing.assert_array_equal(drawn, BARRIERS[np.ix_(order, order)])
    assert {frozenset(order[:2]), frozenset(order[2:])} == {frozenset((0, 2)), frozenset((1, 3))}


def test_what_is_absent_is_named(tables):
    with pytest.raises(UserError, match="no table 'aspects/other'"):
        merge_tree.draw(tables, aspect="other")
    rows = tables["aspects/nli"]
    with pytest.raises(UserError, match="lacks a pair"):
        merge_tree.draw({"aspects/nli": rows[rows["value"] != 0.7]}, aspect="nli")


def test_the_files_repeat(tables, tmp_path):
    first, second = (
        [f.read_bytes() for f in style.save(merge_tree.draw(tables, aspect="nli"), tmp_path / name)]
        for name in ("one", "two")
    )
    assert first == second


def test_the_caption():
    assert "single linkage" in merge_tree.caption(aspect="nli")
