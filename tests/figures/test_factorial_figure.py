"""The factorial and the ordered matrices: what is drawn is what was planted."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest

from basins.errors import UserError
from basins.figures import factorial, ordered_matrix

SLICE = "lexical_overlap/non-entailment"
COLUMNS = ["test", "quantity", "models", "x", "value", "group"]
CHOICE = {"aspect": "cell", "experiment": "crossed", "slice": SLICE, "line": "line"}
CROSSED = {
    f"crossed/seed{k}": own for k, own in enumerate(product(range(60, 66), range(700, 706), [0, 1]))
}
LINE = {
    f"line/seed{k}": (60 + share, order, order)
    for k, (share, order) in enumerate(product(np.arange(0, 1.01, 0.125), (600, 601, 602)))
}


def planted() -> dict[str, pd.DataFrame]:
    """Return tables of a factorial where the head makes .06 nats, the order .02, and a line."""
    draw = np.random.default_rng(0)
    barriers, levels, probes = [], [], []

    def pair(experiment: str, a: str, b: str, value: float) -> None:
        ids = {"experiment": experiment, "model_a": a, "model_b": b, "path": "linear"}
        ids |= {"alignment": "none", "metric": "loss", "eval_set": "test"}
        barriers.append(ids | {"barrier_linear": max(0, value + draw.normal(0, 0.006))})

    for a, b in combinations(CROSSED, 2):
        (h, o, _), (g, p, _) = CROSSED[a], CROSSED[b]
        pair("crossed", a, b, 0.06 * (h != g) + 0.02 * (o != p))
    for a, b in combinations(LINE, 2):
        (h, o, _), (g, p, _) = LINE[a], LINE[b]
        pair("line", a, b, 0.07 * ((h > 60.4) != (g > 60.4)) + 0.01 * (o != p))
    for model, own in {**CROSSED, **LINE}.items():
        for factor, level in zip(("head", "order", "dropout"), own, strict=True):
            levels.append(("B2", f"level, {factor}", model, np.nan, level, "recipe"))
        recipe, _, seed = model.rpartition("/seed")
        probes.append((recipe, int(seed), SLICE, "accuracy", (own[0] * 7 + own[1] % 10) % 10 / 10))
    for step, size in ((0, 0.05), (40, 0.03), (160, 0.0)):
        for k in range(6):
            value = size * draw.uniform(0.5, 1.5)
            levels.append(("B1", "instability", f"m{k}", step, value, f"parent {k}"))
    return {
        "barriers": pd.DataFrame(barriers),
        "aspects/cell": pd.DataFrame(levels, columns=COLUMNS),
        "probes": pd.DataFrame(probes, columns=["recipe", "seed", "slice", "metric", "value"]),
    }


def test_the_factorial_shows_blocks_by_head_and_what_each_factor_explains():
    figure = factorial.draw(planted(), **CHOICE)
    every = [ax for part in figure.subfigs for ax in part.axes]
    axes = {ax.get_title().strip() or ax.get_xlabel(): ax for ax in every}
    by_head = axes["models by head"].images[0].get_array()
    blocks = by_head.reshape(6, 12, 6, 12).mean((1, 3))
    assert blocks.shape == (6, 6) and np.diag(blocks).max() < 0.03 < 0.06 < blocks[0, 1:].min()
    assert [t.get_text() for t in axes["models by head"].get_xticklabels()] == [
        str(head) for head in range(60, 66)
    ]
    shares = axes["share explained"].containers[0].lines[0].get_ydata()
    assert shares == pytest.approx([0.75, 0.25, 0.0], abs=0.1)
    to_first = axes["between two heads"].lines[0]
    assert to_first.get_label() == "to head 60"
    assert max(to_first.get_ydata()[:4]) < 0.03 < min(to_first.get_ydata()[4:])


def test_without_a_line_there_are_two_panels_below():
    figure = factorial.draw(planted(), **{**CHOICE, "line": None})
    assert "between two heads" not in {ax.get_title() for ax in figure.subfigs[1].axes}
    assert "line between" in factorial.caption(**CHOICE)
    assert "line between" not in factorial.caption(**{**CHOICE, "line": None})


def test_without_forks_neither_panel_nor_caption_mentions_them():
    choice = {**CHOICE, "forks": False}
    titles = [ax.get_title() for ax in factorial.draw(planted(), **choice).subfigs[1].axes]
    assert [title for title in titles if title] == ["share explained", "between two heads"]
    assert "same batches until" in factorial.caption(**CHOICE)
    assert "same batches until" not in factorial.caption(**choice)


def test_near_models_are_side_by_side_with_their_strategy_above():
    figure = ordered_matrix.draw(planted(), experiments={"six": "crossed"}, slice=SLICE)
    ax = figure.axes[0]
    assert ax.get_title() == "six (n = 72)"
    matrix = np.asarray(ax.images[0].get_array())
    blocks = matrix.reshape(6, 12, 6, 12).mean((1, 3))
    assert np.diag(blocks).max() < 0.03 < blocks[~np.eye(6, dtype=bool)].min()
    models, _ = ordered_matrix.square(planted(), "crossed", "test", "barrier_linear")
    strip = ax.child_axes[0].images[0].get_array()
    values = [(CROSSED[m][0] * 7 + CROSSED[m][1] % 10) % 10 / 10 for m in models]
    np.testing.assert_allclose(np.asarray(strip)[0], values)


def test_what_is_missing_is_named():
    tables = planted()
    tables["probes"] = tables["probes"].iloc[1:]
    with pytest.raises(UserError, match="of crossed/seed0; probe its recipe"):
        ordered_matrix.draw(tables, experiments={"six": "crossed"}, slice=SLICE)
    tables["barriers"] = tables["barriers"].iloc[1:]
    with pytest.raises(UserError, match="crossed lacks a pair of its models"):
        ordered_matrix.draw(tables, experiments={"six": "crossed"}, slice=SLICE)
