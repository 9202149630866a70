"""The toy's figure carries the numbers of its rows, refuses clearly, and repeats byte for byte."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.container import ErrorbarContainer

from basins.errors import UserError
from basins.figures import style, toy
from basins.registry import check_options

OPTIONS = {"toy": "theory", "threshold": 0.05}


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    ids = [
        {"toy": "theory", "kind": kind, "model_a": "a/seed0", "model_b": f"b/seed{seed}"}
        for kind in toy.KINDS
        for seed in range(2)
    ]
    pairs = pd.DataFrame(
        row | {
            "patterns": 0.7 + 0.03 * k, "patterns_initial": 0.6 + 0.01 * k,
            "barrier_best": 0.2 - 0.02 * k, "barrier_bound": 0.1 - 0.01 * k,
        }
        for k, row in enumerate(ids)
    )  # fmt: skip
    curves = pd.DataFrame(
        row | {"permuted": permuted, "t": t, "loss": 0.1 * k + t * (1 - t) * (1 + permuted)}
        for k, row in enumerate(ids)
        for permuted in (False, True)
        for t in (0.0, 0.5, 1.0)
    )
    return {"toy/theory": pairs, "toy/theory.curves": curves}


def test_the_options_are_those_of_draw_and_caption():
    check_options(toy.draw, OPTIONS, "figures.theory")
    assert "0.05" in toy.caption(**OPTIONS) and "Dotted" not in toy.caption(toy="theory")
    with pytest.raises(UserError, match="threshold"):
        check_options(toy.draw, OPTIONS | {"threshold": -1.0}, "figures.theory")


def test_the_paths_are_every_pair_and_the_mean_of_each_kind(tables):
    raw, best, _ = toy.draw(tables, **OPTIONS).axes
    curves = tables["toy/theory.curves"]
    for ax, permuted in ((raw, False), (best, True)):
        drawn = [np.asarray(line.get_ydata()) for line in ax.lines]
        means = {str(line.get_label()): line.get_ydata() for line in ax.lines}
        assert len(drawn) == len(toy.KINDS) * 3
        part = curves[curves["permuted"] == permuted]
        for _, curve in part.groupby(["kind", "model_b"]):
            assert any(np.array_equal(line, curve["loss"]) for line in drawn)
        for kind, group in part.groupby("kind"):
            np.testing.assert_allclose(means[kind], group.groupby("t")["loss"].mean())


def test_the_points_are_the_pairs_and_their_lines_end_at_the_bound(tables):
    *_, right = toy.draw(tables, **OPTIONS).axes
    drawn = {c.get_label(): c for c in right.containers if isinstance(c, ErrorbarContainer)}
    for kind, group in tables["toy/theory"].groupby("kind"):
        points, _, (lines,) = drawn[kind]
        assert points is not None
        np.testing.assert_array_equal(points.get_xydata(), group[["patterns", "barrier_best"]])
        ends = np.array([segment[:, 1] for segment in lines.get_segments()])
        np.testing.assert_allclose(ends, group[["barrier_bound", "barrier_best"]])
    (untrained,) = [patch for patch in right.patches if patch.get_label() == "untrained"]
    box = untrained.get_extents().transformed(right.transData.inverted())
    np.testing.assert_allclose((box.x0, box.x1), (0.6, 0.67))
    assert any(np.array_equal(line.get_ydata(), [0.05, 0.05]) for line in right.lines)


def test_the_title_says_how_high_barriers_are_by_what_networks_read(tables):
    said = toy.title(tables, **OPTIONS)  # barriers fall by 0.02 a pair from 0.2, last the different
    assert said == (
        "Under the best permutation, barriers between complex and simple networks are at least "
        "0.06, between all others at most 0.20"
    )


def test_a_missing_toy_is_named(tables):
    with pytest.raises(UserError, match="'toy/other'"):
        toy.draw(tables, toy="other")


def test_the_files_repeat(tables, tmp_path):
    first, second = (
        [file.read_bytes() for file in style.save(toy.draw(tables, **OPTIONS), tmp_path / name)]
        for name in ("one", "two")
    )
    assert first == second
