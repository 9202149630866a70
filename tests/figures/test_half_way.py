"""What the average of two models does on a diagnostic, beside the two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle

from basins.errors import UserError
from basins.figures import half_way, style
from basins.registry import check_options

OPTIONS: dict[str, Any] = {"experiment": "pairs", "eval_set": "overlap"}
PAIRS = ((0.2, 0.6, 0.22), (0.8, 0.4, 0.62), (0.1, 0.5, 0.7), (0.5, 0.51, 0.9), (0.3, 0.5, 0.41))
"""Both ends and halfway: like the lower, between, above both, ends too near, between."""


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    chosen = {"experiment": "pairs", "path": "linear", "alignment": "none"}
    chosen |= {"batchnorm": "interpolate", "eval_set": "overlap"}
    rows = (
        {**chosen, "model_a": f"r/seed{k}", "model_b": f"r/seed{k + 1}", "t": t, "accuracy": value}
        for k, (a, b, middle) in enumerate(PAIRS)
        for t, value in ((0.0, a), (0.25, 0.99), (0.5, middle), (1.0, b))
    )
    return {"paths": pd.DataFrame(rows)}


def test_every_pair_and_where_its_average_lies(tables) -> None:
    check_options(half_way.draw, OPTIONS, "figure")
    left, right = half_way.draw(tables, **OPTIONS).axes
    near, far = (np.asarray(dots.get_offsets()) for dots in left.collections)
    np.testing.assert_allclose(near, [(0.505, 0.9)])
    np.testing.assert_allclose(far, [(0.4, 0.22), (0.6, 0.62), (0.3, 0.7), (0.4, 0.41)])
    bars = [bar for bar in right.patches if isinstance(bar, Rectangle)]
    counts = {round(bar.get_x() + 0.05, 2): bar.get_height() for bar in bars}
    assert {place: n for place, n in counts.items() if n} == {0.05: 1, 0.55: 2, 1.45: 1}
    (median,) = right.lines
    np.testing.assert_allclose(np.asarray(median.get_xdata(), float), 0.55)
    assert half_way.title(tables, **OPTIONS) == (
        "Averages of two models that differ on overlap: 25 % are like the lower, 50 % between, "
        "25 % like the higher"
    )
    assert "20 points" in half_way.caption(**OPTIONS)


def test_it_repeats_and_names_what_is_absent(tables, tmp_path) -> None:
    saved = [style.save(half_way.draw(tables, **OPTIONS), tmp_path / name) for name in "ab"]
    for first, second in zip(*saved, strict=True):
        assert Path(first).read_bytes() == Path(second).read_bytes()
    with pytest.raises(UserError, match=r"pairs: no two models differ by 0.7 there"):
        half_way.draw(tables, **OPTIONS, apart=0.7)
    tables["paths"] = tables["paths"].query("t != 0.5")
    with pytest.raises(UserError, match="pairs: nothing is measured halfway, but at"):
        half_way.draw(tables, **OPTIONS)
