"""A page for each aspect: points are the rows, and what has no rows has no panel."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from basins.errors import UserError
from basins.figures import aspect_convexity, directedness, instability, style
from basins.landscape.terrain import row

MODELS = [f"net/seed{k}" for k in range(4)]
PAGES = {"convexity": aspect_convexity, "determinism": instability, "directedness": directedness}


def convexity():
    pairs = list(combinations(MODELS, 2))
    for k, pair in enumerate(pairs):
        group = "within" if k < 3 else "between"
        yield row("A1", "barrier_linear", 0.1 * k, pair, group=group)
        yield row("A2", "jensen", 0.2 * k, pair, group=group, x=2)
        yield row("A5", "top eigenvalue, midpoint", 3.0 + k, pair)
    for out in (None, *MODELS):
        own = [m for m in MODELS if m != out]
        for q, value in (("soup gain", 0.5), ("ensemble gain", 0.7)):
            yield row("A3", q, value if out is None else 99.0, own, group="within", x=0)
    for k, model in enumerate(MODELS):
        yield row("A4", "star barrier", 0.03 * k, [model], group="within")
        yield row("A5", "radius, end", 0.4 + k, [model])
    yield row("A5", "top eigenvalue, centroid", 1.0, MODELS)


def determinism():
    for k, step in enumerate((0, 10, 50)):
        for parent in range(3):
            models, more = (f"net/fork{step}/seed{parent}", "b"), {"group": f"parent {parent}"}
            yield row("B1", "instability", 1 - 0.3 * k + 0.1 * parent, models, **more, x=step)
        yield row("B3", "auc, weights", 0.5 + 0.2 * k, MODELS, x=step)
        yield row("B3", "auc, weights", -9.0, MODELS[1:], x=step)
    for size in (0.0, 1e-3, 1e-2):
        yield row("B4", "barrier", 40 * size, ("a", "b"), x=size)


def direct():
    for k, model in enumerate(MODELS):
        for t in (0.0, 0.5, 1.0):
            yield row("C1", "loss from the start", 1 - t + 0.1 * k, [model], x=t)
        yield row("C3", "rsi", 0.1 * k, [model], x=0)
        yield row("C4", "slope", 0.5, [model])
        for _ in range(300):
            yield row("C4", "slope", 0.01 * k, [model], group="random direction", null=True)
        for x in (0.5, 1.0):
            yield row("C6", "asymmetry", x + 0.1 * k, [model], x=x)


@pytest.fixture
def tables():
    made = {"convexity": convexity(), "determinism": determinism(), "directedness": direct()}
    return {f"aspects/{a}": pd.DataFrame(rows).assign(aspect=a) for a, rows in made.items()}


def drawn(tables, aspect):
    figure = PAGES[aspect].draw(tables, aspect=aspect)
    return {ax.get_title().partition(":")[0] + ax.get_title()[-3:]: ax for ax in figure.axes}


def heights(ax):
    return sorted(y for line in ax.lines for y in np.asarray(line.get_ydata(), float))


def test_points_of_convexity_are_rows(tables):
    panels = drawn(tables, "convexity")
    assert len(panels) == 6
    lines = panels["A1ths"].lines
    np.testing.assert_allclose(sorted(lines[0].get_ydata()), [0, 0.1, 0.2])
    np.testing.assert_allclose(sorted(lines[1].get_ydata()), [0.3, 0.4, 0.5])
    assert [t.get_text() for t in panels["A1ths"].get_xticklabels()] == ["within", "between"]
    np.testing.assert_allclose(heights(panels["A3les"]), [0, 0, 0.5, 0.7])  # whole sets, and 0
    labels = [t.get_text() for t in panels["A5lue"].get_xticklabels()]
    assert labels == ["midpoint", "centroid"]


def test_the_instability_curve_has_its_interval(tables):
    panels = drawn(tables, "determinism")
    assert set(panels) == {"B1ity", "B3ion", "B4ons"}
    ax = panels["B1ity"]
    ((means, _, (bars,)),) = ax.containers
    np.testing.assert_allclose(means.get_xydata(), [[0, 1.1], [10, 0.8], [50, 0.5]])
    half = stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3)
    for segment, mean in zip(bars.get_segments(), (1.1, 0.8, 0.5), strict=True):
        low, high = segment[:, 1]
        assert low <= mean - half + 1e-6 and high >= mean + half - 1e-6  # wider near 0
    early = panels["B3ion"].lines[0]
    np.testing.assert_allclose(early.get_ydata(), [0.5, 0.7, 0.9])  # of all models alone


def test_points_of_directedness_are_rows(tables):
    panels = drawn(tables, "directedness")
    assert set(panels) == {"C1art", "C3nts", "C4ons", "C6try"}
    for k, line in enumerate(panels["C1art"].lines):
        np.testing.assert_allclose(
            line.get_xydata(), [[0, 1 + k / 10], [0.5, 0.5 + k / 10], [1, k / 10]]
        )
    slopes = panels["C4ons"].lines
    assert len(slopes[0].get_ydata()) == 4 and len(slopes[1].get_ydata()) == 200
    np.testing.assert_allclose(panels["C6try"].lines[0].get_ydata(), [1, 1.1, 1.2, 1.3])


def test_thinning_keeps_the_extremes():
    values = np.random.default_rng(0).normal(size=1000)
    kept = directedness.thinned(values, 50)
    assert len(kept) == 50 and {values.min(), values.max()} <= set(kept)
    assert len(directedness.thinned(values[:7], 50)) == 7


@pytest.mark.parametrize(
    ("aspect", "said"),
    [
        ("convexity", "average 0.25 nats over all pairs of models"),
        ("determinism", "end with a barrier of 1.1 nats after step 0, 0.5 nats after step 50"),
        # 0 is not above 0
        ("directedness", "points to the final weights at 75 % of the checkpoints"),
    ],
)
def test_titles_state_what_the_rows_show(tables, aspect, said):
    assert PAGES[aspect].title(tables, aspect=aspect).endswith(said)
    left = tables[f"aspects/{aspect}"].iloc[-1:]
    short = PAGES[aspect].title({f"aspects/{aspect}": left}, aspect=aspect)
    assert short.endswith(f" by {left['test'].item()}")


def test_a_title_of_crossed_factors_says_what_each_leaves(tables):
    barriers = {"same head": 0.05, "same order": 0.14, "both differ": 0.11}
    crossed = [row("B2", "barrier", b, ("a", "b"), group=g) for g, b in barriers.items()]
    table = pd.DataFrame(crossed).assign(aspect="determinism")
    assert instability.title({"aspects/cell": table}, aspect="cell") == (
        "Barriers average 0.05 nats between models of one initial head, 0.14 of one order of the "
        "rows, 0.11 of neither"
    )


def test_a_title_says_how_much_straighter_than_chance_training_is(tables):
    walks = [row("C2", "straightness", 0.5, ["a"], group="random walk", null=True)]
    own = pd.DataFrame([row("C2", "straightness", 0.6, ["a"]), *walks])
    table = pd.concat([tables["aspects/directedness"], own.assign(aspect="directedness")])
    said = directedness.title({"aspects/d": table}, aspect="d")
    assert said.endswith("; trajectories are 1.2 times as straight as random walks")


@pytest.mark.parametrize("aspect", PAGES)
def test_what_is_absent_is_named(tables, aspect):
    with pytest.raises(UserError, match="no table 'aspects/other'"):
        PAGES[aspect].draw(tables, aspect="other")
    empty = {f"aspects/{aspect}": tables[f"aspects/{aspect}"].iloc[:0]}
    with pytest.raises(UserError, match="has no row with aspect"):
        PAGES[aspect].draw(empty, aspect=aspect)


@pytest.mark.parametrize("aspect", PAGES)
def test_files_repeat_and_captions_say_what_it_is(tables, aspect, tmp_path):
    files = [
        style.save(PAGES[aspect].draw(tables, aspect=aspect), tmp_path / name)
        for name in ("one", "two")
    ]
    assert files[0][0].read_bytes() == files[1][0].read_bytes()
    caption = PAGES[aspect].caption(aspect=aspect)
    assert "perationalised and tested here" in caption or "operationalised" in caption


def test_equal_values_are_spread_in_their_order():
    """A sort that is not stable orders them by the processor's instructions."""
    ax = style.new(2, 2).subplots()
    aspect_convexity.strip(ax, {"pairs": np.tile([0.0, 1.0], 100)})
    ranks = np.add.outer(np.arange(100), [0, 100]).ravel()
    np.testing.assert_allclose(ax.lines[0].get_xdata(), 0.4 * (ranks * 0.618 % 1 - 0.5))
