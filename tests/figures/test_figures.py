"""Every figure carries the numbers of its rows, refuses clearly, and repeats byte for byte."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from base64 import b64encode
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.font_manager import findfont
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from PIL import Image

from basins.errors import UserError
from basins.figures import (
    barrier_matrix,
    counterfactual_probe,
    instability,
    path_curves,
    sample_images,
    style,
)
from basins.registry import check_options, find, names
from basins.results import read

CHOSEN = {"experiment": "seeds", "alignment": "none", "batchnorm": "reset"}
OPTIONS = {
    "path_curves": {**CHOSEN, "chance": 0.1},
    "barrier_matrix": {**CHOSEN, "metric": "loss"},
    "counterfactual_probe": {"diagnostic": "counterfactual", "chance": 0.1},
    "sample_images": {"dataset": "toys"},
}
TITLES = ["NC: without cue", "C: with cue", "RC: random cue", "RI: random image"]
ORDER = ["nc", "c", "rc", "ri"]


def test_each_figure_is_found_with_valid_options_and_a_caption():
    assert set(OPTIONS) <= set(names("figures", "draw"))
    for name, options in OPTIONS.items():
        check_options(find("figures", name, "draw"), options, name)
        assert "<" not in find("figures", name, "caption")(**options)


def test_an_impossible_option_is_refused():
    with pytest.raises(UserError, match="chance"):
        check_options(path_curves.draw, {**CHOSEN, "chance": 10.0}, "path_curves")


def test_path_curves_are_the_rows(tables):
    figure = path_curves.draw(tables, **CHOSEN)
    panels = np.array(figure.axes).reshape(2, 4)
    assert [ax.get_title() for ax in panels[0]] == TITLES
    means, pairs = tables["summary/paths"], tables["paths"]
    for metric, line in zip(("accuracy", "loss"), panels, strict=True):
        for eval_set, ax in zip(ORDER, line, strict=True):
            drawn = {str(artist.get_label()): artist for artist in ax.lines}
            for recipes, init in (("plain", "separate"), ("spurious", "shared")):
                rows = means[(means["recipe_b"] == recipes) & (means["metric"] == metric)]
                rows = rows[rows["eval_set"] == eval_set]
                curve = drawn[f"plain – {recipes}, {init} init"]
                np.testing.assert_array_equal(curve.get_xdata(), rows["t"])
                np.testing.assert_array_equal(curve.get_ydata(), rows["mean"])
            thin = [tuple(artist.get_ydata()) for artist in ax.lines if artist.get_linewidth() < 1]
            rows = pairs[pairs["eval_set"] == eval_set].groupby(["model_a", "model_b"])[metric]
            assert sorted(thin) == sorted(map(tuple, rows.agg(list)))


def test_path_curves_do_not_depend_on_the_order_of_rows(tables):
    first = _lines(path_curves.draw(tables, **CHOSEN))
    tables["summary/paths"] = tables["summary/paths"].sort_values("t", ascending=False)
    assert _lines(path_curves.draw(tables, **CHOSEN)) == first


def test_interval_bands_span_the_interval_from_six_seeds_on(tables):
    assert not path_curves.draw(tables, **CHOSEN).axes[0].collections
    tables["summary/paths"] = tables["summary/paths"].assign(seeds=6)
    ax = path_curves.draw(tables, **CHOSEN).axes[0]
    rows = tables["summary/paths"].query("eval_set == 'nc' and metric == 'accuracy'")
    spans = [band.get_paths()[0].get_extents() for band in ax.collections]
    assert min(span.ymin for span in spans) == pytest.approx(rows["ci_low"].min())
    assert max(span.ymax for span in spans) == pytest.approx(rows["ci_high"].max())


def test_heatmap_cells_are_the_barriers_in_recipe_and_seed_order(tables):
    figure = barrier_matrix.draw(tables, **CHOSEN, metric="loss")
    panels = figure.axes[:4]
    assert [ax.get_title() for ax in panels] == TITLES
    models = ["plain/seed0", "plain/seed2", "plain/seed10", "spurious/seed0"]
    rows = tables["barriers"].query("metric == 'loss'")
    for eval_set, ax in zip(ORDER, panels, strict=True):
        cells = ax.collections[0].get_array().reshape(4, 4)
        assert np.ma.getmaskarray(cells).diagonal().all()
        for row in rows[rows["eval_set"] == eval_set].itertuples():
            a, b = models.index(row.model_a), models.index(row.model_b)
            assert cells[a, b] == cells[b, a] == row.barrier_linear
        texts = {text.get_position(): text.get_text() for text in ax.texts}
        assert texts[1.5, 0.5] == f"{cells[0, 1]:.2f}"
    assert len({ax.collections[0].get_clim() for ax in panels}) == 1


def test_a_measured_direction_is_kept(tables):
    back = tables["barriers"].iloc[[0]].rename(columns={"model_a": "model_b", "model_b": "model_a"})
    tables["barriers"] = pd.concat([tables["barriers"], back.assign(barrier_linear=9.0)])
    ax = barrier_matrix.draw(tables, **CHOSEN, metric="loss").axes[3]
    cells = ax.collections[0].get_array().reshape(4, 4)
    assert (cells[0, 2], cells[2, 0]) == (tables["barriers"]["barrier_linear"].iloc[0], 9.0)


def test_error_barriers_are_written_in_percent_and_may_be_negative(tables):
    figure = barrier_matrix.draw(tables, **CHOSEN, metric="error", definition="barrier_mid")
    mesh = figure.axes[0].collections[0]
    assert mesh.get_clim()[0] == pytest.approx(-0.02)
    assert "-2" in {text.get_text() for text in figure.axes[0].texts}


def test_one_set_fills_one_column(tables):
    tables["barriers"] = tables["barriers"].query("eval_set == 'nc'")
    figure = barrier_matrix.draw(tables, **CHOSEN, metric="loss")
    assert figure.get_figwidth() == style.COLUMN_WIDTH
    assert [ax.get_title() for ax in figure.axes if ax.get_title()] == ["NC: without cue"]


def test_probe_dots_and_means_are_the_rows(tables):
    panels = counterfactual_probe.draw(tables, diagnostic="counterfactual", chance=0.25).axes
    assert [ax.get_title() for ax in panels] == TITLES
    recipes = [text.get_text() for text in panels[0].get_yticklabels()]
    assert recipes == ["plain", "spurious"]
    for slice_, ax in zip(ORDER, panels, strict=True):
        drawn = {str(line.get_label()): line for line in ax.lines}
        assert list(drawn["guessing"].get_xdata()) == [0.25, 0.25]
        picked = f"slice == '{slice_}' and metric == 'accuracy'"
        dots, mean = (tables[name].query(picked) for name in ("probes", "summary/probes"))
        np.testing.assert_array_equal(drawn["seeds"].get_xdata(), dots["value"])
        places = np.round(drawn["seeds"].get_ydata()).astype(int)
        assert [recipes[k] for k in places] == list(dots["recipe"])
        marks, _, (interval,) = ax.containers[0]
        np.testing.assert_array_equal(marks.get_xdata(), mean["mean"])
        spans = np.array([segment[:, 0] for segment in interval.get_segments()])
        np.testing.assert_allclose(spans, mean[["ci_low", "ci_high"]])


def test_the_probe_of_some_recipes_shows_them_in_their_order(tables):
    chosen = {"diagnostic": "counterfactual", "recipes": ["spurious"]}
    for recipes in (["spurious"], ["spurious", "plain"]):
        ax = counterfactual_probe.draw(tables, **{**chosen, "recipes": recipes}).axes[0]
        assert [text.get_text() for text in ax.get_yticklabels()] == recipes
    with style.labelled({"spurious": "with a cue"}):
        ax = counterfactual_probe.draw(tables, **{**chosen, "recipes": ["spurious"]}).axes[0]
        assert [text.get_text() for text in ax.get_yticklabels()] == ["with a cue"]
    chosen["recipes"] = ["absent"]
    with pytest.raises(UserError, match="recipe 'absent'; there are: plain, spurious"):
        counterfactual_probe.draw(tables, **chosen)


def test_keys_are_written_in_words():
    assert style.display("nocue") == "no-cue"
    assert style.display("(one_head, linear, none), less that of nli") == (
        "(one head, straight path, units not matched), less that of NLI models"
    )
    assert style.display("nli/step160") == "NLI models, step 160"
    assert style.display("sum_of_parts") == "sum of parts"


def test_a_profile_has_words_for_its_own_keys():
    labels = {"one_head": "models of one head", "one_head/fast": "at a fast rate"}
    labels |= {"tuned/small": "{small} of the cue", "ends": "models without linear or none"}
    with style.labelled(labels):
        assert style.display("(one_head, linear), less one_head/step5, one_head/fast") == (
            "(models of one head, straight path), less models of one head, step 5, at a fast rate"
        )
        assert style.display("tuned/small") == "low-rate fine-tuning of the cue"
        assert style.display("one_head_more, x/one_head") == "one head more, x/one head"
        # The words of a label are final, and a key that is an English word is one only alone.
        assert style.display("ends") == "models without linear or none"
        assert style.display("(ends, reset) of both ends") == (
            "(models without linear or none, BatchNorm recomputed) of both ends"
        )


def test_labels_are_those_of_one_profile():
    with style.labelled({"own": "of one profile"}):
        with style.labelled({"other": "of the other"}):
            assert style.display("own") == "own" and style.display("other") == "of the other"
        with pytest.raises(UserError), style.labelled({"other": "of the other"}):
            raise UserError("a profile whose figures fail")
        assert style.display("own") == "of one profile" and style.display("other") == "other"
    assert style.display("own") == "own"


def test_a_set_is_not_called_by_the_label_of_a_recipe_with_its_key():
    with style.labelled({"paws": "QQP models"}):
        assert style.display("paws") == "QQP models"
        assert style.set_title("paws") == style.on("paws") == "PAWS"


def test_capitals_stay_where_a_name_begins_a_sentence():
    assert [style.sentence(key) for key in ("f1", "accuracy", "convexity_gap")] == [
        "F1", "Accuracy", "Convexity gap"
    ]  # fmt: skip


def test_a_sentence_names_sets_as_readers_do():
    assert [style.on(name) for name in ("nc", "test", "ood")] == [
        "NC", "the test set", "out of distribution"
    ]  # fmt: skip
    assert style.joined(["NC", "C", "RI"]) == "NC, C and RI"
    assert style.joined(["NC", "C"]) == "NC and C"
    assert style.joined(["NC"]) == "NC" and style.joined([]) == ""


def test_matrices_of_all_alignments_have_one_scale(tables):
    higher = tables["barriers"].assign(alignment="matched", barrier_linear=99.0)
    tables["barriers"] = pd.concat([tables["barriers"], higher])
    figure = barrier_matrix.draw(tables, **CHOSEN, metric="loss")
    assert figure.axes[0].collections[0].get_clim()[1] == 99.0


@pytest.mark.parametrize("name", OPTIONS)
def test_titles_are_sentences_from_rows(tables, name):
    said = find("figures", name, "title")(tables, **OPTIONS[name])
    assert said[0].isupper() and "_" not in said


def test_every_figure_states_its_result_in_a_title():
    assert names("figures", "title") == names("figures", "draw")


def test_sample_images_show_every_pixel_in_place(tables):
    (ax,) = sample_images.draw(tables, dataset="toys", columns=2).axes
    assert len(ax.images) == 8
    levels = {"nc": 120, "c": 40, "rc": 80, "ri": 0}
    for image in ax.images:
        assert isinstance(image, AxesImage)
        left, _, _, top = image.get_extent()
        eval_set = ORDER[round(top / (4 / 6))]
        pixels = np.asarray(image.get_array())
        assert pixels.shape == (4, 6, 3)
        assert (pixels == levels[eval_set] + round(left)).all()
    assert [label.get_text() for label in ax.get_xticklabels()] == ["cat", "dog"]


def test_the_title_of_images_says_how_much_of_them_the_cue_changes(tables):
    samples = tables["samples"].loc[lambda rows: rows["label"] == 0]
    half = Image.new("RGB", (6, 4), (120, 120, 120))  # as NC is: rows 0 and 1 stay so
    half.paste((9, 120, 120), (0, 2, 6, 4))
    buffer = BytesIO()
    half.save(buffer, "png")
    samples.loc[samples["eval_set"] == "c", "png"] = b64encode(buffer.getvalue()).decode()
    assert sample_images.title({"samples": samples}, dataset="toys") == (
        "The cue changes 50 % of an image's pixels"
    )


def test_texts_are_no_images(tables):
    text = {"dataset": "words", "eval_set": "test", "label": 0, "class": "a", "text": "a b"}
    tables["samples"] = pd.concat([tables["samples"], pd.DataFrame([text])])
    with pytest.raises(UserError, match="no row with dataset 'words'; there are: toys"):
        sample_images.draw(tables, dataset="words")


@pytest.mark.parametrize("name", OPTIONS)
def test_a_missing_selection_names_what_there_is(tables, name):
    key = {"counterfactual_probe": "diagnostic", "sample_images": "dataset"}.get(name, "experiment")
    there = {"experiment": "seeds", "diagnostic": "counterfactual", "dataset": "toys"}[key]
    with pytest.raises(UserError, match=f"{key} 'absent'; there are: {there}"):
        find("figures", name, "draw")(tables, **{**OPTIONS[name], key: "absent"})
    with pytest.raises(UserError, match="no table .*; there are: none"):
        find("figures", name, "draw")({}, **OPTIONS[name])


def test_missing_intervals_still_draw(tables):
    """One seed has no interval over seeds."""
    for name in ("summary/paths", "summary/probes"):
        tables[name] = tables[name].assign(ci_low=np.nan, ci_high=np.nan)
    path_curves.draw(tables, **CHOSEN).draw_without_rendering()
    counterfactual_probe.draw(tables, diagnostic="counterfactual").draw_without_rendering()


SCRIPT = """
import pickle, sys
from pathlib import Path
from basins.registry import find
from basins.figures import style
tables, options = pickle.load(open(sys.argv[1], "rb"))
for name, chosen in options.items():
    figure = find("figures", name, "draw")(tables, **chosen)
    style.save(figure, Path(sys.argv[2], name))
"""


def test_the_last_bits_of_a_layout_do_not_show(tables, tmp_path: Path):
    """The solver of constrained layouts has others in one process of fourteen."""
    for moved in (0.0, 1e-13):
        figure = barrier_matrix.draw(tables, **OPTIONS["barrier_matrix"])
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for ax in figure.axes:
            left, bottom, width, height = ax.get_position(original=True).bounds
            ax.set_position((left + moved, bottom, width, height - moved))
        style.save(figure, tmp_path / str(moved) / "matrix")
    assert _digests(tmp_path / "0.0") == _digests(tmp_path / "1e-13")


def test_files_are_the_same_bytes_in_every_process(tables, tmp_path: Path):
    (tmp_path / "tables.pickle").write_bytes(pickle.dumps((tables, OPTIONS)))
    subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "tables.pickle", tmp_path / "there"],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    for name, options in OPTIONS.items():
        figure = find("figures", name, "draw")(tables, **options)
        style.save(figure, tmp_path / "here" / name)
    first, second = _digests(tmp_path / "here"), _digests(tmp_path / "there")
    assert sorted(first) == sorted(f"{name}.{kind}" for name in OPTIONS for kind in ("pdf", "svg"))
    assert first == second


def test_saving_again_gives_the_same_bytes_whatever_the_users_settings(tables, tmp_path: Path):
    figure = path_curves.draw(tables, **CHOSEN)
    style.save(figure, tmp_path / "once" / "v1.5")
    style.save(figure, tmp_path / "again" / "v1.5")
    theirs = {"font.size": 20, "axes.labelweight": "bold", "svg.hashsalt": None}
    with matplotlib.rc_context(theirs):
        style.save(path_curves.draw(tables, **CHOSEN), tmp_path / "other" / "v1.5")
    once = _digests(tmp_path / "once")
    assert set(once) == {"v1.5.svg", "v1.5.pdf"}
    assert once == _digests(tmp_path / "again") == _digests(tmp_path / "other")


def test_a_failed_save_leaves_the_old_file(tables, tmp_path: Path, monkeypatch):
    figure = sample_images.draw(tables, dataset="toys")
    style.save(figure, tmp_path / "samples")
    before = _digests(tmp_path)

    def fail(target: Path, **_: object) -> None:
        Path(target).write_text("half")
        raise OSError("no space left")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError):
        style.save(figure, tmp_path / "samples")
    assert _digests(tmp_path) == before


def test_the_font_is_matplotlibs_own():
    with style.styled():
        found = findfont(matplotlib.rcParams["font.family"][0], fallback_to_default=False)
    assert Path(found).is_relative_to(matplotlib.get_data_path())


EDGE = 0.02
"""Inches, half a millimetre, by which the box of a text exceeds its letters."""


def test_labels_stay_inside_the_page(tables):
    for name, options in OPTIONS.items():
        figure = find("figures", name, "draw")(tables, **options)
        figure.draw_without_rendering()
        box = figure.get_tightbbox()
        assert box.xmin > -EDGE and box.ymin > -EDGE, name
        assert box.xmax < figure.get_figwidth() + EDGE, name
        assert box.ymax < figure.get_figheight() + EDGE, name


def test_labels_stay_inside_where_the_layout_changes_the_ticks(tmp_path: Path):
    results = Path(__file__).parents[2] / "reports" / "study_followup" / "results"
    figure = instability.draw(
        {"aspects/cell": read(results / "aspects" / "cell.csv")}, aspect="cell"
    )
    style.save(figure, tmp_path / "ticks")
    with style.styled():  # ticks depend on the size of their labels
        figure.draw_without_rendering()
        assert figure.axes[0].yaxis.label.get_window_extent().x0 >= 0


def test_a_long_legend_takes_more_lines_and_stays_inside():
    figure = style.new(style.COLUMN_WIDTH, 3)
    style.legend(figure, [Line2D([], [], label=f"recipe {k} - recipe {k}") for k in range(9)])
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert legend.get_window_extent().width <= figure.bbox.width
    assert len(legend.get_texts()) == 9


def test_sets_come_in_one_order_and_others_follow():
    assert style.ordered_sets(["hans", "ri", "nc", "ri", "c"]) == ["nc", "c", "ri", "hans"]


def test_a_repeated_colour_has_another_marker():
    groups = [str(k) for k in range(20)]
    colours, markers = style.colours(groups), style.markers(groups)
    assert len({(colours[g], markers[g]) for g in groups}) == 20


def _lines(figure) -> list[tuple[str, str, list[float]]]:
    return sorted(
        (ax.get_title(), str(line.get_label()), list(line.get_ydata()))
        for ax in figure.axes
        for line in ax.lines
    )


def _digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}
