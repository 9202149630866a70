"""The control shows every pair once, where its distance and its barrier are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from basins.errors import UserError
from basins.figures import control, style

OPTIONS = {
    "experiments": ["mechanisms", "same_data"],
    "alignments": ["none", "matching"],
    "batchnorm": "reset",
    "eval_set": "nc",
}
PAIRS = [
    # experiment, kind, distance and barrier of each pair before alignment; after, half the barrier
    ("mechanisms", control.KINDS[0], [(0.02, 0.4), (0.04, 0.5)]),
    ("mechanisms", control.KINDS[2], [(0.6, 0.8), (0.7, 0.6)]),
    ("same_data", control.KINDS[1], [(0.01, 0.02)]),
    ("same_data", control.KINDS[0], [(0.3, 0.3)]),
]


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    """`PAIRS` before and after alignment, beside rows that nobody asked for."""
    pairs, means = [], []
    for experiment, kind, places in PAIRS:
        for alignment, factor in (("none", 1.0), ("matching", 0.5)):
            ids = {"experiment": experiment, "kind": kind, "path": "linear"}
            ids |= {"alignment": alignment, "batchnorm": "reset", "eval_set": "nc"}
            ids |= {"metric": "error"}
            pairs += [
                {**ids, "barrier_linear": factor * barrier, "distance": distance}
                for distance, barrier in places
            ]
            distance, barrier = np.mean(places, axis=0)
            means += [
                {**ids, "quantity": "distance", "mean": distance},
                {**ids, "quantity": "barrier", "mean": factor * barrier},
            ]
    summary = pd.DataFrame(means).assign(
        ci_low=lambda f: f["mean"] - 0.01, ci_high=lambda f: f["mean"] + 0.03
    )
    found = {"invariance": pd.DataFrame(pairs), "summary/invariance": summary}
    others = ({"eval_set": "c"}, {"metric": "loss"}, {"batchnorm": "moving"}, {"path": "bezier"})
    return {
        name: pd.concat([table, *(table.assign(**other) for other in others)])
        for name, table in found.items()
    }


def test_marks_are_the_pairs_and_crosses_their_means(tables):
    figure = control.draw(tables, **OPTIONS)
    assert [ax.get_title() for ax in figure.axes] == ["not aligned", "matching"]
    for ax, factor in zip(figure.axes, (1.0, 0.5), strict=True):
        drawn = {str(line.get_label()): line for line in ax.lines}
        crosses = {str(bar.get_label()): bar for bar in ax.containers}
        for _, kind, places in PAIRS[:3]:
            marks = np.array(drawn[kind].get_data()).T
            np.testing.assert_allclose(marks, np.array(places) * [1, factor])
            cross, _, (across, up) = crosses[f"{kind}, mean"]
            x, y = np.mean(places, axis=0) * [1, factor]
            assert np.ravel(cross.get_data()) == pytest.approx([x, y])
            assert np.ravel(across.get_segments()) == pytest.approx([x - 0.01, y, x + 0.03, y])
            assert np.ravel(up.get_segments()) == pytest.approx([x, y - 0.01, x, y + 0.03])
        assert len(crosses) == 3
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(control.KINDS[:3])


def test_the_first_experiment_that_has_a_kind_gives_it(tables):
    figure = control.draw(tables, **{**OPTIONS, "experiments": ["same_data", "mechanisms"]})
    drawn = {str(line.get_label()): line for line in figure.axes[0].lines}
    assert np.ravel(drawn[control.KINDS[0]].get_data()) == pytest.approx([0.3, 0.3])


def test_what_is_absent_is_named(tables):
    with pytest.raises(UserError, match="alignment 'star'; there are: matching, none"):
        control.draw(tables, **{**OPTIONS, "alignments": ["star"]})
    with pytest.raises(UserError, match="no table 'invariance'"):
        control.draw({}, **OPTIONS)


@pytest.mark.parametrize("alignments", [["none"], ["none", "matching"]])
def test_everything_stays_inside_and_repeats_byte_for_byte(tables, alignments, tmp_path: Path):
    tables["summary/invariance"] = tables["summary/invariance"].assign(ci_low=np.nan)
    for name in ("once", "again"):
        figure = control.draw(tables, **{**OPTIONS, "alignments": alignments})
        style.save(figure, tmp_path / name)
        box = figure.get_tightbbox()
        assert box.xmin > -0.01 and box.ymin > -0.01
        assert box.xmax < figure.get_figwidth() + 0.01
        assert box.ymax < figure.get_figheight() + 0.01
    for kind in ("svg", "pdf"):
        first, second = ((tmp_path / f"{k}.{kind}").read_bytes() for k in ("once", "again"))
        assert first == second


def test_the_caption_names_set_and_experiments():
    text = control.caption(**OPTIONS)
    assert "NC" in text and "mechanisms, same data" in text and "BatchNorm recomputed" in text
