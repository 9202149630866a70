"""Barriers over width carry the numbers of their rows, and refuse what is ambiguous."""

from __future__ import annotations

from itertools import product

import pandas as pd
import pytest

from basins.errors import UserError
from basins.figures import barrier_by_width
from basins.registry import check_options

WIDTHS = {"4": "narrow", "16": "wide"}


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    rows = [
        {"experiment": experiment, "recipe_a": a, "recipe_b": "net", **line}
        for experiment, line, a in product(
            WIDTHS.values(), barrier_by_width.LINES.values(), ("net", "other")
        )
    ]
    found = pd.DataFrame(rows).assign(
        path="linear", eval_set="nc", metric="error", definition="barrier_linear"
    )
    found["mean"] = [0.01 * k for k in range(len(found))]
    return {"summary/barriers": found.assign(ci_low=found["mean"] - 0.002, ci_high=found["mean"])}


def test_each_curve_has_its_barrier_at_every_width(tables):
    check_options(barrier_by_width.draw, {"experiments": WIDTHS}, "figure")
    (ax,) = barrier_by_width.draw(tables, experiments=WIDTHS).axes
    lines = {str(bar.get_label()): bar.lines[0] for bar in ax.containers}
    assert list(lines) == list(barrier_by_width.LINES)
    for k, line in enumerate(lines.values()):
        assert list(line.get_xdata()) == [4, 16]
        assert list(line.get_ydata()) == pytest.approx([0.02 * k, 0.02 * k + 0.08])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["4", "16"]


def test_the_title_says_what_is_left_at_the_first_width_and_at_the_last(tables):
    said = barrier_by_width.title(tables, experiments=WIDTHS)  # rows 6 and 14
    assert said == (
        "Barriers on NC (matched, REPAIR) average 6 points of error at width 4, 14 points of error "
        "at width 16"
    )


def test_what_is_ambiguous_is_refused(tables):
    only = tables["summary/barriers"].query("recipe_a == 'other'")
    with pytest.raises(UserError, match="narrow: 0 recipes"):
        barrier_by_width.draw({"summary/barriers": only}, experiments=WIDTHS)
    with pytest.raises(UserError, match="width 'wide' is not a number"):
        barrier_by_width.draw(tables, experiments={"wide": "wide", "4": "narrow"})
    with pytest.raises(UserError, match="no row with batchnorm 'moving'"):
        lines = {"moved": {"alignment": "none", "batchnorm": "moving"}}
        barrier_by_width.draw(tables, experiments=WIDTHS, lines=lines)
