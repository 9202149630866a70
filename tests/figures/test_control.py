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
KINDS = list(control.LOOKS)
PAIRS = [
    # experiment, kind, distance and barrier of each pair before alignment; after, half the barrier
    ("mechanisms", KINDS[0], [(0.02, 0.4), (0.04, 0.5)]),
    ("mechanisms", KINDS[1], [(0.6, 0.8), (0.7, 0.6)]),
    ("same_data", KINDS[2], [(0.01, 0.02)]),
    ("same_data", KINDS[0], [(0.3, 0.3)]),
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


def test_marks_are_the_pairs_and_bars_their_means(tables):
    figure = control.draw(tables, **OPTIONS)
    assert [ax.get_title() for ax in figure.axes] == ["Units not matched", "Matching"]
    shown = [f"{KINDS[0]}\n(3 points apart)", f"{KINDS[1]}\n(65 points apart)"]
    shown.append(f"{KINDS[2]}\n(1 point apart)")
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == shown
    for ax, factor in zip(figure.axes, (1.0, 0.5), strict=True):
        drawn = {str(line.get_label()): line for line in ax.lines}
        for k, (bar, (_, kind, places)) in enumerate(zip(ax.containers, PAIRS[:3], strict=True)):
            barriers = factor * np.array(places)[:, 1]
            across, up = drawn[kind].get_data()
            np.testing.assert_allclose(across, barriers)
            assert (np.round(np.array(up)) == k).all()
            mark, _, (ends,) = bar
            mean = barriers.mean()
            assert np.ravel(mark.get_data()) == pytest.approx([mean, k + 0.2])
            assert np.ravel(ends.get_segments()) == pytest.approx(
                [mean - 0.01, k + 0.2, mean + 0.03, k + 0.2]
            )


def test_the_first_experiment_that_has_a_kind_gives_it(tables):
    figure = control.draw(tables, **{**OPTIONS, "experiments": ["same_data", "mechanisms"]})
    drawn = {str(line.get_label()): line for line in figure.axes[0].lines}
    assert drawn[KINDS[0]].get_xdata() == pytest.approx([0.3])


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


def test_the_caption_names_the_set_and_no_key():
    text = control.caption(**OPTIONS)
    assert "NC" in text and "BatchNorm recomputed" in text and "same_data" not in text
