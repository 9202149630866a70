"""Accuracy in distribution and out of it: every model, and paths from the lowest to the highest."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from basins.errors import UserError
from basins.figures import in_and_out, style
from basins.registry import check_options

OPTIONS = {"experiment": "pairs", "slice": "overlap/no", "eval_set": "overlap"}
OUT = (0.5, 0.1, 0.9, 0.3, 0.7, 0.6, 0.2, 0.8)  # of seeds 0 to 7; quarters: 1, 6 and 7, 2


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    chosen = {"experiment": "pairs", "path": "linear", "alignment": "none"}
    chosen |= {"batchnorm": "interpolate"}
    pairs = [(f"r/seed{a}", f"r/seed{b}", a, b) for a, b in combinations(range(8), 2)]
    barriers = pd.DataFrame({**chosen, "model_a": a, "model_b": b} for a, b, *_ in pairs)
    paths = pd.DataFrame(
        {**chosen, "model_a": a, "model_b": b, "eval_set": on, "t": t,
         "accuracy": 0.6 if on == "test" else OUT[k] + t**2 * (OUT[m] - OUT[k])}
        for a, b, k, m in pairs for on in ("test", "overlap") for t in (0, 0.25, 0.5, 0.75, 1)
    )  # fmt: skip
    probes = pd.DataFrame(
        {"recipe": "r", "seed": k, "slice": on, "metric": metric, "value": value,
         "ci_low": value - 0.02, "ci_high": value + 0.03}
        for k, out in enumerate([*OUT, 0.99])  # the last is of no pair
        for on, metric, value in (
            ("test", "accuracy", 0.6 + k / 1000), ("test", "base_rate", 0.4),
            ("overlap/no", "accuracy", out), ("overlap/no", "f1", out / 2),
        )
    )  # fmt: skip
    return {"barriers": barriers, "paths": paths, "probes": probes}


def test_every_model_and_paths_from_low_to_high(tables) -> None:
    check_options(in_and_out.draw, OPTIONS, "figure")
    seeds, along = in_and_out.draw(tables, **OPTIONS).axes
    drawn = [bar.lines[0].get_xydata() for bar in seeds.containers]
    order = np.argsort(OUT)
    np.testing.assert_allclose(drawn[0], [(k + 1, 0.6 + s / 1000) for k, s in enumerate(order)])
    np.testing.assert_allclose(drawn[1], [(k + 1, OUT[s]) for k, s in enumerate(order)])
    spans = seeds.containers[1].lines[2][0].get_segments()
    np.testing.assert_allclose([s[1, 1] - s[0, 1] for s in spans], 0.05)
    lines = [line for line in along.lines if len(line.get_xdata()) == 5]
    thin = [line.get_ydata() for line in lines if line.get_linewidth() < 1]
    means = [line.get_ydata() for line in lines if line.get_linewidth() > 1]
    assert len(thin) == 2 * 4
    ends = sorted((y[0], y[-1]) for y in thin[4:])
    np.testing.assert_allclose(ends, [(0.1, 0.8), (0.1, 0.9), (0.2, 0.8), (0.2, 0.9)])
    # A pair that is stored from high to low is turned around: 1 - (1 - t)^2 instead of t^2.
    middle = sorted(float(y[2]) for y in thin[4:])
    expected = [
        OUT[low] + share * (OUT[high] - OUT[low])
        for low, high, share in ((1, 2, 0.25), (1, 7, 0.25), (6, 2, 0.75), (6, 7, 0.25))
    ]
    np.testing.assert_allclose(middle, sorted(expected))
    np.testing.assert_allclose(means[0], 0.6)
    np.testing.assert_allclose(means[1], np.mean(thin[4:], axis=0))
    levels = [line.get_ydata() for line in seeds.lines if list(line.get_xdata()) == [0, 1]]
    np.testing.assert_allclose(levels, [[0.4, 0.4]])


def test_without_paths_and_of_another_metric(tables) -> None:
    options = {"experiment": "pairs", "slice": "overlap/no", "metric": "f1"}
    (ax,) = in_and_out.draw({k: tables[k] for k in ("barriers", "probes")}, **options).axes
    np.testing.assert_allclose(ax.containers[1].lines[0].get_xydata()[:, 1], np.sort(OUT) / 2)
    assert ax.get_ylabel() == "accuracy, F1 (%)"
    assert in_and_out.title(tables, **options) == (
        "8 models, one recipe: 60 % to 61 % in distribution, F1 of 5 % to 45 % on overlap/no"
    )
    assert "Right" not in in_and_out.caption(**options)
    assert "Right" in in_and_out.caption(**OPTIONS)


def test_it_repeats_and_names_what_is_absent(tables, tmp_path) -> None:
    saved = [style.save(in_and_out.draw(tables, **OPTIONS), tmp_path / name) for name in "ab"]
    for first, second in zip(*saved, strict=True):
        assert Path(first).read_bytes() == Path(second).read_bytes()
    with pytest.raises(UserError, match="no row with eval_set 'paws'"):
        in_and_out.draw(tables, **{**OPTIONS, "eval_set": "paws"})
    tables["barriers"] = tables["barriers"].iloc[:1]
    with pytest.raises(UserError, match="pairs: 2 models with both values; a spread takes 4"):
        in_and_out.draw(tables, **OPTIONS)
