"""Planes are drawn where their points are, on one scale, with their models marked and named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from basins.errors import UserError
from basins.figures import plane, style
from basins.landscape.plane import corners, nodes

OPTIONS = {"planes": ["same", "mixed"], "eval_sets": ["test", "lexical_overlap"]}
SIDES = {"same": (2.0, 3.0, 2.5), "mixed": (1.0, 4.0, 4.5)}
MODELS = {"same": "nli/seed{}", "mixed": "other{}/seed0"}


def value(k: int, eval_set: str, a: float, u: float, v: float) -> float:
    """A bowl, which is at its highest outside the triangle."""
    return 1 + k + (2 if eval_set == "test" else 0) + 2 * (a**2 + u**2 + v**2)


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    """Two planes on two sets, one a unit of loss above the other."""
    points = nodes(4, 0.5)
    found = {}
    for k, (name, sides) in enumerate(SIDES.items()):
        positions = np.array(points) @ corners(*sides)
        named = {p: MODELS[name].format(i) for i, p in enumerate(nodes(1, 0))}
        found[f"plane/{name}"] = pd.DataFrame(
            {"plane": name, "u": u, "v": v, "x": x, "y": y, "eval_set": eval_set, "n": 10,
             "loss": value(k, eval_set, a, u, v), "loss_se": 0.1,
             "accuracy": 1 - value(k, eval_set, a, u, v) / 20, "model": named.get((a, u, v))}
            for eval_set in ("lexical_overlap", "test", "other")
            for (a, u, v), (x, y) in zip(points, positions, strict=True)
        )  # fmt: skip
    return found


def panels(figure, shape=(2, 2)):
    return np.array([ax for ax in figure.axes if not ax.get_label()]).reshape(shape)


@pytest.mark.parametrize("metric", ["loss", "accuracy"])
def test_all_panels_of_a_row_share_the_scale_of_the_triangles(tables, metric):
    figure = plane.draw(tables, **OPTIONS, metric=metric)
    assert [ax.get_title() for ax in panels(figure)[0]] == ["same", "mixed"]
    for line, eval_set in zip(panels(figure), OPTIONS["eval_sets"], strict=True):
        # The bowls' lowest node and highest model; `mixed` lies one unit above `same`.
        ends = np.array([value(0, eval_set, 0.5, 0.25, 0.25), value(1, eval_set, 1, 0, 0)])
        expected = ends if metric == "loss" else np.sort(1 - ends / 20)
        scales = []
        for ax in line:
            (drawn,) = [c for c in ax.collections if getattr(c, "filled", False)]
            (low, high), width = drawn.levels[[0, -1]], drawn.levels[1] - drawn.levels[0]
            assert low - 1e-9 <= expected[0] < low + width
            assert high - width < expected[1] <= high + 1e-9
            assert len(drawn.levels) <= plane.COLOURS + 1
            scales.append(tuple(drawn.levels))
            assert drawn.extend == ("max" if metric == "loss" else "min")
        assert len(scales) == 2 and len(set(scales)) == 1
        assert line[0].get_ylabel() == style.set_title(eval_set)


def test_points_and_models_are_where_they_are(tables):
    figure = plane.draw(tables, **OPTIONS)
    for line in panels(figure):
        for ax, (name, sides) in zip(line, SIDES.items(), strict=True):
            drawn = {str(part.get_label()): part for part in ax.lines}
            rows = tables[f"plane/{name}"]
            np.testing.assert_array_equal(
                drawn.pop("nodes").get_xydata(), rows.loc[rows["eval_set"] == "test", ["x", "y"]]
            )
            models = [MODELS[name].format(i) for i in range(3)]
            assert list(drawn) == ["paths", "soups of two", "soup", *models]
            marks = [np.ravel(drawn[model].get_xydata()) for model in models]
            np.testing.assert_allclose(marks, corners(*sides))
            mixed = [f"other{i}, seed 0" for i in range(3)]
            texts = {"same": ["seed 0", "seed 1", "seed 2"], "mixed": mixed}
            assert [text.get_text() for text in ax.texts] == texts[name]
            assert ax.get_aspect() == 1


@pytest.mark.parametrize("metric", ["loss", "accuracy"])
def test_contours_cover_the_lattice_and_only_it(metric, tables):
    """Whatever the angles of a plane, its hexagon is filled: 88 cells, 16 of them the triangle."""
    figure = plane.draw(tables, **OPTIONS, metric=metric)
    for name, ax in zip(SIDES, panels(figure)[0], strict=True):
        (drawn,) = [c for c in ax.collections if getattr(c, "filled", False)]
        covered = sum(signed_area(p) for path in drawn.get_paths() for p in path.to_polygons())
        assert abs(covered) == pytest.approx(88 / 16 * abs(signed_area(corners(*SIDES[name]))))


def signed_area(polygon: np.ndarray) -> float:
    x, y = np.asarray(polygon).T
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2)


def test_a_loss_that_is_not_finite_leaves_a_hole(tables):
    whole, broken = tables["plane/same"], tables["plane/same"].copy()
    centre = (broken["u"] == 0.25) & (broken["v"] == 0.25) & (broken["eval_set"] == "test")
    broken.loc[centre, "loss"] = np.inf
    areas = []
    for table in (whole, broken):
        figure = plane.draw({"plane/same": table}, planes=["same"], eval_sets=["test"])
        (ax,) = panels(figure, (1,))
        (drawn,) = [c for c in ax.collections if getattr(c, "filled", False)]
        assert np.isfinite(drawn.levels).all()
        areas.append(sum(signed_area(p) for path in drawn.get_paths() for p in path.to_polygons()))
    assert areas[1] / areas[0] == pytest.approx((88 - 6) / 88)


@pytest.mark.parametrize("level", [0.0, 0.7])
def test_a_level_plane_is_drawn(level, tables):
    tables = {name: table.assign(accuracy=level) for name, table in tables.items()}
    figure = plane.draw(tables, **OPTIONS, metric="accuracy")
    for ax in panels(figure).flat:
        (drawn,) = [c for c in ax.collections if getattr(c, "filled", False)]
        assert drawn.levels[0] <= level <= drawn.levels[-1]
        assert any(len(path.vertices) for path in drawn.get_paths())


def test_what_is_absent_is_named(tables):
    with pytest.raises(UserError, match="no table 'plane/third'"):
        plane.draw(tables, planes=["third"], eval_sets=["test"])
    with pytest.raises(UserError, match="eval_set 'hans'; there are: lexical_overlap, other, test"):
        plane.draw(tables, planes=["same"], eval_sets=["hans"])


@pytest.mark.parametrize(("planes", "sets"), [(1, 1), (2, 2), (3, 1)])
def test_everything_stays_inside_and_repeats_byte_for_byte(tables, planes, sets, tmp_path: Path):
    chosen = {"planes": ["same", "mixed", "same"][:planes], "metric": "accuracy"}
    for name in ("once", "again"):
        figure = plane.draw(tables, **chosen, eval_sets=OPTIONS["eval_sets"][:sets])
        style.save(figure, tmp_path / name)
        box = figure.get_tightbbox()
        assert box.xmin > -0.01 and box.ymin > -0.01
        assert box.xmax < figure.get_figwidth() + 0.01
        assert box.ymax < figure.get_figheight() + 0.01
    for kind in ("svg", "pdf"):
        first, second = ((tmp_path / f"{k}.{kind}").read_bytes() for k in ("once", "again"))
        assert first == second


def test_the_title_tells_the_worst_between_the_models(tables):
    said = plane.title(tables, planes=["same"], eval_sets=["test"])
    assert said == (
        "The loss between models rises to 5.00 nats on the test set (5.00 nats at the models)"
    )


def test_nothing_is_drawn_beyond_what_was_measured(tables):
    """The surface through a single peak would swing to the other side beside it."""
    table = tables["plane/same"].assign(loss=1.0)
    table.loc[(table["u"] == 0.25) & (table["v"] == 0.25), "loss"] = 2.0
    figure = plane.draw({"plane/same": table}, planes=["same"], eval_sets=["test"])
    (drawn, _) = panels(figure, (1,))[0].collections
    assert drawn.zmin >= 1.0 and drawn.zmax == pytest.approx(2.0)


def test_the_caption_tells_the_scale():
    assert "highest loss" in plane.caption(**OPTIONS)
    assert "lowest accuracy" in plane.caption(**OPTIONS, metric="accuracy")


def test_paths_and_the_merges_on_them_are_marked(tables):
    figure = plane.draw(tables, **OPTIONS)
    ax = panels(figure)[0, 0]
    lines = {line.get_label(): line.get_xydata() for line in ax.lines}
    models = [lines[MODELS["same"].format(i)][0] for i in range(3)]
    np.testing.assert_allclose(lines["soup"], [np.mean(models, axis=0)])
    halves = [(models[i] + models[(i + 1) % 3]) / 2 for i in range(3)]
    np.testing.assert_allclose(lines["soups of two"], halves)
    np.testing.assert_allclose(lines["paths"], [*models, models[0]])


@pytest.mark.parametrize("count", [1, 2])
def test_planes_of_fewer_models_end_half_way(count, tables):
    points = nodes(4, 0.5, 3 - count)
    positions = np.array(points) @ corners(2.0, 3.0, 2.5)
    named = {p: f"nli/seed{i}" for i, p in enumerate(nodes(1, 0)[:count])}
    table = pd.DataFrame(
        {"plane": "few", "u": u, "v": v, "x": x, "y": y, "eval_set": "test", "n": 10,
         "loss": 1 + u**2 + v**2, "loss_se": 0.1, "accuracy": 0.5, "model": named.get((a, u, v))}
        for (a, u, v), (x, y) in zip(points, positions, strict=True)
    )  # fmt: skip
    options = {"planes": ["few"], "eval_sets": ["test"], "directions": "random"}
    figure = plane.draw({"plane/few": table}, **options)
    (ax,) = panels(figure, (1,))
    (drawn,) = [c for c in ax.collections if getattr(c, "filled", False)]
    worst = 1.5 if count == 1 else 2.25
    assert worst <= drawn.levels[-1] < worst + drawn.levels[1] - drawn.levels[0]
    labels = [str(line.get_label()) for line in ax.lines]
    middle = ["paths", "soups of two"] if count == 2 else []
    assert labels == ["nodes", *middle, *named.values()]
    assert "normalised by filter" in plane.caption(**options)


def test_the_title_of_a_plane_around_one_model_says_so(tables):
    table = tables["plane/same"]
    around = table.assign(
        model=table["model"].where(table["model"] == table["model"].dropna().iloc[0])
    )
    said = plane.title(
        {"plane/same": around}, planes=["same"], eval_sets=["test"], directions="random"
    )
    assert said.startswith("The loss around the model rises to 8.00 nats on the test set (")
    assert said.endswith(" at the model)")
