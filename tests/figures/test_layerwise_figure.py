"""Every bar is a row, in the order of the layers, with both models held."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from basins.errors import UserError
from basins.figures import layerwise, style
from basins.registry import check_options

LAYERS = ("stem", "blocks.0", "head")


@pytest.fixture
def tables():
    found = []
    pairs = (("m/seed0", "m/seed1", "within"), ("m/seed0", "m/seed2", "between"))
    for p, (a, b, kind) in enumerate(pairs):
        for side, models in enumerate((f"{a} + {b}", f"{b} + {a}")):
            for q, quantity in enumerate(layerwise.QUANTITIES):
                found += [
                    {"quantity": quantity, "group": layer, "x": k, "models": models,
                     "value": 1 + p + 0.1 * side + 0.01 * q + 0.2 * k}
                    for k, layer in reversed([*enumerate(LAYERS)])
                ]  # fmt: skip
            found += [
                {"quantity": name, "group": kind, "x": None, "models": models, "value": value}
                for name, value in (("barrier of all layers", 2.5), ("interaction", -0.5 - side))
            ]
    return {"aspects/fine": pd.DataFrame(found).assign(aspect="connectivity", test="D5", null=0)}


def test_dots_are_rows(tables):
    check_options(layerwise.draw, {"aspect": "fine"}, "figure")
    panels = layerwise.draw(tables, aspect="fine").axes
    assert [ax.get_title() for ax in panels] == [
        "models 0 and 1 (within clusters)", "models 0 and 2 (between clusters)",
    ]  # fmt: skip
    assert [t.get_text() for t in panels[0].get_yticklabels()] == ["stem", "blocks 0", "head"]
    for p, ax in enumerate(panels):
        *dots, whole, interaction = ax.lines
        for side in range(2):
            for q in range(3):
                line = dots[3 * side + q]
                across, up = (np.array(values, float) for values in line.get_data())
                layers = np.round(up).astype(int)
                np.testing.assert_allclose(across, 1 + p + 0.1 * side + 0.01 * q + 0.2 * layers)
                assert sorted(layers) == [0, 1, 2]
                assert (line.get_markerfacecolor() == "none") == bool(side)
        assert [line.get_xdata()[0] for line in (whole, interaction)] == [2.5, -0.5]
        low, high = ax.get_xlim()
        assert low < -0.5 and high > 2.5  # nothing is cut off
    assert layerwise.title(tables, aspect="fine").endswith("at most 2.5 nats; all together, 2.5")


def test_what_is_absent_is_named(tables):
    with pytest.raises(UserError, match="no table 'aspects/other'"):
        layerwise.draw(tables, aspect="other")
    with pytest.raises(UserError, match="no row with test 'D5'"):
        layerwise.draw({"aspects/fine": tables["aspects/fine"].assign(test="D1")}, aspect="fine")


def test_the_files_repeat(tables, tmp_path):
    first, second = (
        [f.read_bytes() for f in style.save(layerwise.draw(tables, aspect="fine"), tmp_path / n)]
        for n in ("one", "two")
    )
    assert first == second


def test_the_caption():
    assert "hollow: at the second" in layerwise.caption(aspect="fine")
