"""A grid shows exactly the curves that its rows and lines single out."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from basins.errors import UserError
from basins.figures import path_grid, style
from basins.registry import check_options

SETS = ("ri", "c", "rc", "nc")
ORDER = ["nc", "c", "rc", "ri"]
CURVES = [
    # experiment, path, alignment, recipes, seeds of the pairs
    ("straight", "linear", "none", "nocue", "cued", [(0, 0), (1, 1)]),
    ("straight", "linear", "none", "nocue", "cued", [*product(range(3), (3, 4))]),
    ("straight", "linear", "matching", "nocue", "cued", [(0, 0), (1, 1)]),
    ("straight", "linear", "none", "nocue", "nocue", [(0, 1)]),
    ("curved", "linear", "none", "nocue", "cued", [(0, 0)]),
    ("curved", "bezier", "none", "nocue", "cued", [(0, 0), (1, 1)]),
    ("tuned", "linear", "none", "cued", "group/small", [(0, 0), (1, 1)]),
    ("tuned", "linear", "none", "cued", "group/not_small", [(0, 0)]),
]
EXPERIMENTS = {"60 %": ["straight", "curved"], "80 %": ["tuned"]}
CUED = {"path": "linear", "recipe_b": "cued"}
LINES = {
    "linear": {**CUED, "alignment": "none", "init": "shared"},
    "apart": {**CUED, "alignment": "none", "init": "separate"},
    "matched": {**CUED, "alignment": "matching"},
    "Bézier": {"path": "bezier"},
    "fine-tuned": {"recipe_b": "small"},
    "absent": {"recipe_b": "large"},
}
SHOWN = [{"linear": 0, "apart": 1, "matched": 2, "Bézier": 5}, {"fine-tuned": 6}]
"""Which of `CURVES` each row shows."""


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    """The rows of `CURVES`, with a different number in each."""
    points, means = [], []
    for k, (experiment, path, alignment, a, b, seeds) in enumerate(CURVES):
        curve = {"experiment": experiment, "path": path, "alignment": alignment}
        curve |= {"batchnorm": "reset"}
        init = "shared" if seeds[0][0] == seeds[0][1] else "separate"
        for (j, s), (i, t) in product(enumerate(SETS), enumerate((0.0, 0.5, 1.0))):
            place = {"eval_set": s, "t": t}
            value = 0.1 * k + 0.02 * j + 0.005 * i
            for n, (seed_a, seed_b) in enumerate(seeds):
                models = {"model_a": f"{a}/seed{seed_a}", "model_b": f"{b}/seed{seed_b}"}
                one = value + 0.0001 * (n + 1)
                points.append({**curve, **models, **place, "accuracy": one, "loss": one + 1})
            recipes = {"recipe_a": a, "recipe_b": b, "init": init}
            means += [
                {**curve, **recipes, **place, "metric": "accuracy", "mean": value},
                {**curve, **recipes, **place, "metric": "loss", "mean": value + 1},
            ]
    summary = pd.DataFrame(means).assign(
        ci_low=lambda f: f["mean"] - 0.001, ci_high=lambda f: f["mean"] + 0.002
    )
    return {"paths": pd.DataFrame(points), "summary/paths": summary}


def _panels(figure, lines: int) -> np.ndarray:
    return np.array(figure.axes).reshape(lines, 4)


def _bold(ax) -> dict[str, list[float]]:
    return {str(x.get_label()): list(x.get_ydata()) for x in ax.lines if x.get_linewidth() > 1}


def _curve(number: int, eval_set: str, shift: float = 0) -> list[float]:
    start = 0.1 * number + 0.02 * SETS.index(eval_set) + shift
    return pytest.approx([start, start + 0.005, start + 0.01])  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize(("metric", "shift"), [("accuracy", 0), ("loss", 1)])
def test_every_panel_has_its_lines_and_no_other(tables, metric, shift):
    figure = path_grid.draw(tables, experiments=EXPERIMENTS, lines=LINES, metric=metric)
    panels = _panels(figure, 2)
    assert [ax.get_title() for ax in panels[0]] == [style.set_title(s) for s in ORDER]
    for shown, line in zip(SHOWN, panels, strict=True):
        for eval_set, ax in zip(ORDER, line, strict=True):
            assert _bold(ax) == {k: _curve(n, eval_set, shift) for k, n in shown.items()}
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*SHOWN[0], *SHOWN[1]]
    assert [line[-1].get_ylabel() for line in panels] == list(EXPERIMENTS)


def test_few_pairs_are_drawn_and_many_are_not(tables):
    lines = {"few": LINES["linear"], "many": LINES["apart"]}
    figure = path_grid.draw(tables, experiments={"60 %": ["straight"]}, lines=lines)
    for eval_set, ax in zip(ORDER, figure.axes, strict=True):
        thin = [list(line.get_ydata()) for line in ax.lines if line.get_linewidth() < 1]
        assert thin == [_curve(0, eval_set, 0.0001), _curve(0, eval_set, 0.0002)]


def test_bands_span_the_interval(tables):
    lines = {"few": LINES["linear"], "many": LINES["apart"]}
    ax = path_grid.draw(tables, experiments={"60 %": ["straight"]}, lines=lines).axes[0]
    (band,) = ax.collections  # few pairs are drawn instead
    extents = band.get_paths()[0].get_extents()
    low, _, high = _curve(1, "nc").expected  # pyright: ignore[reportAttributeAccessIssue]
    assert (extents.ymin, extents.ymax) == pytest.approx((low - 0.001, high + 0.002))


def test_guessing_is_marked_where_it_is_an_accuracy(tables):
    options = {"experiments": {"60 %": ["curved"]}, "lines": {"Bézier": LINES["Bézier"]}}
    for metric, marked in (("accuracy", 1), ("loss", 0)):
        figure = path_grid.draw(tables, **options, metric=metric, chance=0.25)
        for ax in figure.axes:
            assert [list(line.get_ydata()) for line in ax.lines].count([0.25, 0.25]) == marked


def test_the_first_experiment_that_has_a_line_gives_it(tables):
    lines = {"linear": LINES["linear"]}
    for names, number in ((["straight", "curved"], 0), (["tuned", "curved", "straight"], 4)):
        ax = path_grid.draw(tables, experiments={"60 %": names}, lines=lines).axes[0]
        assert _bold(ax) == {"linear": _curve(number, "nc")}


def test_pairs_within_a_recipe_are_shown_where_they_are_named(tables):
    lines = {"seeds": {"recipe_a": "nocue", "recipe_b": "nocue"}}
    ax = path_grid.draw(tables, experiments={"60 %": ["straight"]}, lines=lines).axes[0]
    assert _bold(ax) == {"seeds": _curve(3, "nc")}


def test_a_line_that_is_several_curves_says_what_to_choose_by(tables):
    lines = {"linear": {"path": "linear"}}
    with pytest.raises(UserError) as caught:
        path_grid.draw(tables, experiments={"60 %": ["straight"]}, lines=lines)
    assert str(caught.value) == (
        "row '60 %', line 'linear': 3 curves; choose one by: "
        "alignment matching, none; init separate, shared"
    )


def test_a_row_without_lines_is_refused(tables):
    with pytest.raises(UserError, match="row '80 %' has none of the lines, in: tuned"):
        path_grid.draw(tables, experiments=EXPERIMENTS, lines={"Bézier": LINES["Bézier"]})


def test_an_absent_experiment_is_refused(tables):
    with pytest.raises(UserError, match="experiment 'lost'; there are: curved, straight, tuned"):
        path_grid.draw(tables, experiments={"60 %": ["straight", "lost"]}, lines=LINES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lines": {}}, "lines"),
        ({"lines": {"a": {"colour": "red"}}}, "lines.*colour"),
        ({"experiments": {"a": "straight"}}, "experiments.*'straight'"),
        ({"experiments": {"a": []}}, "experiments.a"),
        ({"metric": "error"}, "metric.*'error'"),
    ],
)
def test_impossible_options_are_refused(options, message):
    good = {"experiments": EXPERIMENTS, "lines": LINES}
    check_options(path_grid.draw, good, "figures.grid")
    with pytest.raises(UserError, match=message):
        check_options(path_grid.draw, {**good, **options}, "figures.grid")


@pytest.mark.parametrize("count", [1, 5])
def test_everything_stays_inside_the_page(tables, count):
    experiments = {f"{k} % of a class": ["straight", "curved"] for k in range(count)}
    figure = path_grid.draw(tables, experiments=experiments, lines=LINES, chance=0.1)
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    assert figure.get_figwidth() == style.PAGE_WIDTH
    assert box.xmin > -0.01 and box.ymin > -0.01
    assert box.xmax < figure.get_figwidth() + 0.01 and box.ymax < figure.get_figheight() + 0.01


def test_bytes_do_not_depend_on_the_order_of_rows_and_one_seed_is_enough(tables, tmp_path: Path):
    tables["summary/paths"] = tables["summary/paths"].assign(ci_low=np.nan, ci_high=np.nan)
    shuffled = {"paths": tables["paths"], "summary/paths": tables["summary/paths"].iloc[::-1]}
    for name, given in (("once", tables), ("again", shuffled)):
        figure = path_grid.draw(given, experiments=EXPERIMENTS, lines=LINES)
        style.save(figure, tmp_path / name)
    for kind in ("svg", "pdf"):
        first, second = ((tmp_path / f"{k}.{kind}").read_bytes() for k in ("once", "again"))
        assert first == second


def test_the_caption_names_lines():
    text = path_grid.caption(experiments=EXPERIMENTS, lines=LINES, chance=0.1)
    assert all(label in text for label in LINES)
    assert "10 %" in text
    assert "10 %" not in path_grid.caption(
        experiments=EXPERIMENTS, lines=LINES, metric="loss", chance=0.1
    )
