"""The control over a setting shows the mean of each kind of pair at each value, in its order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from basins.errors import UserError
from basins.figures import control_sweep, style
from basins.figures.control import LOOKS

KINDS = list(LOOKS)
OPTIONS = {
    "experiments": {"16": "narrow", "64": "wide"},
    "setting": "width",
    "alignments": ["matching", "other"],
    "batchnorm": "reset",
    "eval_set": "nc",
}
MEANS = {("narrow", KINDS[0]): 0.1, ("wide", KINDS[0]): 0.02}
MEANS |= {("wide", KINDS[2]): 0.3, ("narrow", KINDS[2]): 0.2}


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    """`MEANS` of two alignments, beside rows that nobody asked for."""
    ids = {"path": "linear", "batchnorm": "reset", "eval_set": "nc", "metric": "error"}
    ids |= {"quantity": "barrier"}
    table = pd.DataFrame(
        {"experiment": experiment, "kind": kind, "alignment": alignment, **ids, "mean": mean}
        for alignment in ("matching", "other")
        for (experiment, kind), mean in MEANS.items()
    ).assign(ci_low=lambda rows: rows["mean"] - 0.01, ci_high=lambda rows: rows["mean"] + 0.03)
    others = [{key: "wrong"} for key in ids] + [{"experiment": "wrong"}]
    decoys = [table.assign(**other, mean=9.0) for other in others]
    return {"summary/invariance": pd.concat([*decoys, table])}


def test_every_kind_has_its_mean_and_interval_at_each_value(tables):
    figure = control_sweep.draw(tables, **OPTIONS)
    assert [ax.get_title() for ax in figure.axes] == ["Matching", "Other"]
    for ax in figure.axes:
        assert [text.get_text() for text in ax.get_xticklabels()] == ["16", "64"]
        drawn = {str(bar.get_label()): bar for bar in ax.containers}
        assert list(drawn) == [KINDS[0], KINDS[2]]
        for kind, (line, _, (bars,)) in drawn.items():
            across = np.round(line.get_xdata().astype(float))
            at = dict(zip(across, line.get_ydata(), strict=True))
            assert at == {0.0: MEANS["narrow", kind], 1.0: MEANS["wide", kind]}
            for x, y in at.items():
                (bar,) = (bar for bar in bars.get_segments() if round(bar[0, 0]) == x)
                assert bar[:, 1].tolist() == pytest.approx([y - 0.01, y + 0.03])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [KINDS[0], KINDS[2]]


def test_what_is_absent_is_named(tables):
    with pytest.raises(UserError, match="alignment 'star'; there are: matching, other"):
        control_sweep.draw(tables, **{**OPTIONS, "alignments": ["star"]})
    with pytest.raises(UserError, match="experiment 'x'; there are: narrow, wide, wrong"):
        control_sweep.draw(tables, **{**OPTIONS, "experiments": {"1": "x", "2": "wide"}})


def test_everything_stays_inside_and_repeats_byte_for_byte(tables, tmp_path: Path):
    for name in ("once", "again"):
        figure = control_sweep.draw(tables, **OPTIONS)
        style.save(figure, tmp_path / name)
        box = figure.get_tightbbox()
        assert box.xmin > -0.01 and box.ymin > -0.01
        assert box.xmax < figure.get_figwidth() + 0.01
        assert box.ymax < figure.get_figheight() + 0.01
    for kind in ("svg", "pdf"):
        first, second = ((tmp_path / f"{k}.{kind}").read_bytes() for k in ("once", "again"))
        assert first == second


def test_the_caption_names_set_setting_and_values():
    text = control_sweep.caption(**OPTIONS)
    assert "NC" in text and "width (16, 64)" in text and "BatchNorm recomputed" in text
