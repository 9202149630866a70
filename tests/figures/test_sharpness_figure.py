"""Every model that was both climbed from and probed is one point."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from basins.errors import UserError
from basins.figures import sharpness, style

OPTIONS = {"sharpness": "fine", "diagnostic": "counterfactual", "slice": "nc"}


@pytest.fixture
def both(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Two recipes, in another order than the probe's, of which one seed was never probed."""
    found = pd.DataFrame(
        {"model": f"{recipe}/seed{seed}", "recipe": recipe, "seed": seed, "eval_set": "test",
         "epsilon": 1e-5, "loss": 0.5, "worst": 0.6, "sharpness": 1.0 + k + 0.1 * seed, "n": 100}
        for k, recipe in enumerate(("spurious", "plain"))
        for seed in (3, 2, 1, 0)
    )  # fmt: skip
    return {**tables, "sharpness/fine": found}


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_points_are_models(both, metric):
    (ax,) = sharpness.draw(both, **OPTIONS, metric=metric).axes
    probes = both["probes"]
    for line, (k, recipe, r) in zip(ax.lines, [(0, "spurious", 1), (1, "plain", 0)], strict=True):
        assert line.get_label() == recipe
        where = (probes["recipe"] == recipe) & (probes["slice"] == "nc")
        values = probes.loc[where & (probes["metric"] == metric)].set_index("seed")["value"]
        assert values[2] == pytest.approx(0.3 * r + 0.3 + 0.02)
        expected = [(1.0 + k + 0.1 * seed, values[seed]) for seed in (2, 1, 0)]
        np.testing.assert_allclose(line.get_xydata(), expected)
    assert "ε = 10⁻⁵" in ax.get_xlabel() and "r = " in ax.get_xlabel()
    assert ("%" in ax.get_ylabel()) == (metric == "accuracy")


def test_what_is_absent_is_named(both):
    with pytest.raises(UserError, match="no table 'sharpness/coarse'"):
        sharpness.draw(both, **{**OPTIONS, "sharpness": "coarse"})
    with pytest.raises(UserError, match="slice 'hans'"):
        sharpness.draw(both, **{**OPTIONS, "slice": "hans"})
    others = both["sharpness/fine"].assign(recipe="another")
    with pytest.raises(UserError, match="no model in common"):
        sharpness.draw({**both, "sharpness/fine": others}, **OPTIONS)


def test_the_files_repeat(both, tmp_path):
    first, second = (
        [f.read_bytes() for f in style.save(sharpness.draw(both, **OPTIONS), tmp_path / name)]
        for name in ("one", "two")
    )
    assert first == second


def test_the_caption_names_its_options():
    text = sharpness.caption(**OPTIONS, metric="loss")
    assert "Loss on NC" in text and "fine" in text
