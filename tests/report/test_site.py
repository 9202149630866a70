"""The first page: its slider has the accuracies and pictures of the tables, each on its path."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

from basins.report import hero, site
from tests.report import planted
from tests.report.test_scorecard import CLAIM

RIGHT, WRONG = "+- +- ++", "+- -- ++"  # of the two images, at each of three points


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    """The planted ones, with `ri` for `c`: accuracy falls by 1 % where the loss rises by 1."""
    made = planted.tables()
    paths, outcomes, samples = (made[name].copy() for name in ("paths", "outcomes", "samples"))
    for rows in (paths, outcomes):
        rows["eval_set"] = rows["eval_set"].replace("c", "ri")
    paths["accuracy"] = 1.01 - paths["loss"] / 100
    straight = outcomes["path"] == "linear"
    outcomes["outcomes"] = straight.map({True: WRONG, False: RIGHT})
    again = samples.loc[samples["eval_set"] == "c"].assign(eval_set="ri")
    return {**made, "paths": paths, "outcomes": outcomes, "samples": pd.concat([samples, again])}


@pytest.fixture
def packed(tables) -> dict:
    found = hero.pack(tables, {"toys": "shapes"})
    assert found is not None
    return found


def test_the_straight_path_has_the_barrier_and_the_curve_has_none(packed):
    heights = (1, 2, 3, 3, 4, 5)  # of the pairs of models, in order; ten times that on `ri`
    assert packed["pairs"][0] == "plain/seed0 → plain/seed1" and len(packed["pairs"]) == 6
    assert packed["lines"] == {
        "straight": {
            "t": [0, 0.5, 1],
            "nc": [[100, 100 - height, 100] for height in heights],
            "ri": [[100, 100 - 10 * height, 100] for height in heights],
        },
        "curve": {"t": [0, 0.5, 1], **dict.fromkeys(("nc", "ri"), [[100] * 3] * 6)},
    }


def test_examples_are_right_where_their_own_path_has_them_right(packed):
    for eval_set in ("nc", "ri"):
        # The square turns right on the curve, so it is shown first.
        square, disc = packed["examples"][eval_set]
        assert (square["class"], square["curve"], square["straight"]) == ("square", "--+", "--+")
        assert (disc["class"], disc["curve"], disc["straight"]) == ("disc", "+++", "+-+")
    assert [one["class"] for one in packed["cue"]] == ["disc", "disc"]


def test_without_a_curve_and_a_straight_path_there_is_no_slider(tables):
    for _, paths in tables["paths"].groupby("path"):
        assert hero.pack({**tables, "paths": paths}, {}) is None


def test_the_first_page_has_the_slider_s_data_and_leads_to_every_profile(packed):
    claims = [CLAIM, {**CLAIM, "id": "mmc/c1", "n": 3, "verdict": "not applicable"}]
    profiles = [
        site.Profile(name, "two seeds", own, {}, {}, {}, "in no commit")
        for name, own in (("toys", claims), ("others", claims[:1]))
    ]
    html = site.render(profiles, [], packed, "Toys")
    [data] = re.findall(r'<script[^>]* id="hero-data"[^>]*>(.*?)</script>', html, re.DOTALL)
    assert json.loads(data) == packed
    assert "Toys. BatchNorm recomputed at every point" in html
    for name in ("toys", "others"):
        assert f'<a href="{name}/index.html">{name}</a></th><td>two seeds</td>' in html
    assert "1 of 3 claims are measured with fewer than six seeds" in html
    assert "1 claims are not applicable" in html
    bare = site.render(profiles, [], None, "Toys")
    assert "hero-data" not in bare and "BatchNorm recomputed" not in bare
