"""Figures and tables of clusters carry the numbers of their rows, refuse clearly, and repeat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.container import ErrorbarContainer

from basins.errors import UserError
from basins.figures import (
    cluster_histogram,
    convexity_gaps,
    pair_types,
    published_models,
    strategy,
    style,
)
from basins.figures.rows import Watched
from basins.registry import check_options, find
from basins.statistics import published
from basins.statistics.cluster_rows import summarise_types
from basins.tables import clusters as cluster_table
from basins.tables import published_models as published_table
from tests import planted

LABELS = [0, 1, 0, 0, 1, 0]
NAMES = planted.names(6)
SLICES = ["lexical_overlap", "constituent"]
OPTIONS = {
    "pair_types": {"experiment": "nli", "eval_sets": ["test", "lexical_overlap"]},
    "convexity_gaps": {"experiment": "nli", "eval_set": "test", "slice": "lexical_overlap"},
    "strategy": {"experiment": "nli", "slices": SLICES},
    "cluster_histogram": {"experiment": "nli", "slices": SLICES},
    "published_models": {},
}


@pytest.fixture(scope="module")
def tables():
    paths, barriers, _ = planted.experiment(LABELS)
    cluster = dict(zip(NAMES, LABELS, strict=True))
    curves, _ = summarise_types(paths, barriers, cluster, 0.95)
    models = pd.DataFrame(
        {
            "experiment": "nli", "measure": measure, "model": NAMES, "cluster": LABELS,
            "score": [-0.3, 0.2, -0.1, -0.2, 0.4, -0.4], "stability": 0.9,
        }
        for measure in ("convexity_gap", "distance")
    ).explode(["model", "cluster", "score"])  # fmt: skip
    association = pd.DataFrame(
        {
            "experiment": "nli", "measure": "convexity_gap", "slice": name, "metric": "accuracy",
            "statistic": statistic, "estimate": -0.5 - 0.1 * k, "ci_low": -0.9, "ci_high": high,
        }
        for name, high in zip(SLICES, (0.25, np.nan), strict=True)
        for k, statistic in enumerate(("spearman", "pearson", "partial"))
    )  # fmt: skip
    return {
        "pair_types": curves,
        "barriers": barriers,
        "clusters": models.astype({"cluster": int, "score": float}),
        "probes": planted.probes(LABELS),
        "association": association.assign(ci_low=lambda f: f["ci_high"] * 0 - 0.9),
        "cluster_choice": choices(),
        "published_models": analysed(),
    }


def choices():
    rows = [
        ("chosen", 1, 1.0, np.nan, np.nan, 0.2),
        ("apart", 2, 1.23, np.nan, np.nan, np.nan),
        ("alike", 2, np.nan, np.nan, np.nan, np.nan),
        ("separation", 2, 4.5, np.nan, np.nan, np.nan),
        ("stability_models", 2, 0.95, 0.5, 1.0, np.nan),
        ("triangle_share", 0, 0.123, 0.1, 0.2, 0.4),
        ("width", 2, 1.0, np.nan, np.nan, 0.3),
    ]
    columns = ["statistic", "k", "estimate", "ci_low", "ci_high", "p"]
    return pd.DataFrame(rows, columns=columns).assign(experiment="nli", measure="convexity_gap")


def analysed():
    random = np.random.default_rng(0)
    columns = ["MNLI dev acc.", "Overall accuracy", "Lexical (nonent)"]
    columns += ["ln_passive", "ln_preposition", "sn_NP/S", "ce_adverb"]
    runs = pd.DataFrame(random.uniform(0.2, 0.8, (12, 7)), columns=columns).assign(ce_adverb=1.0)
    return published.analyse(runs, random, small=(1, 4, 7), resamples=100)


def test_the_options_are_those_of_draw_and_caption(tables):
    for name, options in OPTIONS.items():
        check_options(find("figures", name, "draw"), options, name)
        text = find("figures", name, "caption")(**options)
        assert text.endswith(".") and "<" not in text
    with pytest.raises(UserError, match="measure"):
        check_options(convexity_gaps.draw, {**OPTIONS["convexity_gaps"], "measure": "r"}, "figure")
    with pytest.raises(UserError, match="slices"):
        check_options(strategy.draw, {"experiment": "nli", "slices": []}, "figure")


@pytest.mark.parametrize("name", OPTIONS)
def test_the_same_rows_give_the_same_bytes(name, tables, tmp_path):
    draw = find("figures", name, "draw")
    saved = [style.save(draw(tables, **OPTIONS[name]), tmp_path / f"{k}") for k in "ab"]
    for first, second in zip(*saved, strict=True):
        assert Path(first).read_bytes() == Path(second).read_bytes()


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("pair_types", "pair_types"),
        ("convexity_gaps", "clusters"),
        ("strategy", "association"),
        ("cluster_histogram", "probes"),
        ("published_models", "published_models"),
    ],
)
def test_what_is_absent_is_named(name, table, tables):
    draw = find("figures", name, "draw")
    with pytest.raises(UserError, match=f"no table '{table}'"):
        draw({key: rows for key, rows in tables.items() if key != table}, **OPTIONS[name])
    if OPTIONS[name]:
        with pytest.raises(UserError, match="experiment 'other'; there are: nli"):
            draw(tables, **{**OPTIONS[name], "experiment": "other"})


def test_curves_are_the_means_by_type_of_pair(tables):
    shown = clustered(tables, 2)
    panels = np.array(pair_types.draw(shown, **OPTIONS["pair_types"]).axes).reshape(2, 3)
    assert [ax.get_title() for ax in panels[0]] == [
        "within the larger cluster (6)", "between clusters (8)", "within a smaller cluster (1)"
    ]  # fmt: skip
    rows = tables["pair_types"].query("metric == 'loss'").sort_values("t")
    for eval_set, row in zip(("test", "lexical_overlap"), panels, strict=True):
        for kind, ax in zip(pair_types.PAIR_TYPES, row, strict=True):
            own = rows.loc[(rows["eval_set"] == eval_set) & (rows["pair_type"] == kind)]
            (line,) = ax.lines
            np.testing.assert_array_equal(line.get_xdata(), own["t"])
            np.testing.assert_array_equal(line.get_ydata(), own["mean"])
    assert panels[0, 0].get_ylim() == panels[0, 1].get_ylim() != panels[1, 0].get_ylim()


def test_several_paths_are_lines_of_their_own(tables):
    curved = tables["pair_types"].assign(path="bezier", mean=lambda f: f["mean"] + 1)
    both = {"pair_types": pd.concat([tables["pair_types"], curved])}
    figure = pair_types.draw(both, experiment="nli", paths=["bezier", "linear"])
    assert [len(ax.lines) for ax in figure.axes] == [2] * 6
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "Bézier path",
        "straight path",
    ]


def test_cells_are_the_gaps_ordered_by_cluster_and_score(tables):
    gaps, strip, *_ = convexity_gaps.draw(clustered(tables, 2), **OPTIONS["convexity_gaps"]).axes
    order = [5, 0, 3, 2, 1, 4]
    assert [text.get_text() for text in gaps.get_xticklabels()] == list(map(str, order))
    cells = gaps.collections[0].get_array().reshape(6, 6)
    rows = tables["barriers"].query("metric == 'loss' and eval_set == 'test'")
    for row in rows.itertuples():
        a, b = (order.index(int(model[-1])) for model in (row.model_a, row.model_b))
        assert cells[a, b] == cells[b, a] == row.convexity_gap
    across, down = gaps.lines
    assert across.get_ydata()[0] == down.get_xdata()[0] == 4
    values = tables["probes"].query("slice == 'lexical_overlap'")["value"].to_numpy()
    np.testing.assert_array_equal(strip.collections[0].get_array().ravel(), values[order])


def clustered(tables, count):
    """Return the tables with so many clusters left by the test."""
    choice = tables["cluster_choice"]
    return {**tables, "cluster_choice": choice.replace({"k": {1: count}})}


def test_no_lines_part_clusters_that_the_null_model_does_not_leave(tables):
    options = OPTIONS["convexity_gaps"]
    assert clustered(tables, 1)["cluster_choice"].equals(tables["cluster_choice"])
    gaps, *_ = convexity_gaps.draw(tables, **options).axes
    assert len(gaps.lines) == 0 and "no clusters are shown" in gaps.get_xlabel()
    assert "no clusters are shown" in convexity_gaps.title(tables, **options)
    assert "2 clusters" in convexity_gaps.title(clustered(tables, 2), **options)


@pytest.mark.parametrize("name", ["pair_types", "strategy", "cluster_histogram"])
def test_parts_are_called_clusters_only_where_the_test_shows_some(tables, name):
    for count, word, other in ((1, "group", "cluster"), (2, "cluster", "group")):
        watched = Watched(clustered(tables, count))
        figure = find("figures", name, "draw")(watched, **OPTIONS[name])
        assert "cluster_choice" in watched.read
        legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
        said = " ".join([*(ax.get_title() for ax in figure.axes), *legends, figure.get_supxlabel()])
        assert f"larger {word}" in said and other not in said


@pytest.mark.parametrize("name", ["convexity_gaps", "strategy", "cluster_histogram"])
def test_an_axis_whose_name_is_in_percent_has_ticks_in_percent(tables, name):
    measured = {**tables, "probes": tables["probes"].assign(metric="f1")}
    measured["association"] = tables["association"].assign(metric="f1")
    figure = find("figures", name, "draw")(measured, **OPTIONS[name], metric="f1")
    named = [ax.yaxis for ax in figure.axes if "F1 (%)" in ax.get_ylabel()]
    named += [ax.xaxis for ax in figure.axes] if "F1 (%)" in figure.get_supxlabel() else []
    named += [ax.yaxis for ax in figure.axes] if "F1 (%)" in figure.get_supylabel() else []
    assert named
    assert all(axis.get_major_formatter()(0.5) == "50" for axis in named)


def test_distances_do_not_start_at_zero(tables):
    options = {"experiment": "nli", "eval_set": "test", "measure": "distance"}
    gaps, _ = convexity_gaps.draw(tables, **options).axes
    assert gaps.collections[0].get_clim()[0] > 5


def test_points_are_the_models_and_titles_say_how_sure(tables):
    figure = strategy.draw(tables, **OPTIONS["strategy"])
    first, second = figure.axes
    found = tables["clusters"].query("measure == 'convexity_gap'")
    for slice_, ax in zip(SLICES, (first, second), strict=True):
        values = tables["probes"].set_index("slice").loc[slice_, "value"].to_numpy()
        drawn = {str(line.get_label()): line for line in ax.lines}
        for name, label in (("larger group", 0), ("smaller group", 1)):
            own = (found["cluster"] == label).to_numpy()
            np.testing.assert_array_equal(drawn[name].get_xdata(), found["score"][own])
            np.testing.assert_array_equal(drawn[name].get_ydata(), values[own])
    assert [text.get_text() for ax in (first, second) for text in ax.texts] == [
        "r = −0.60 [−0.90, 0.25]\npartial: −0.70 [−0.90, 0.25]",
        "r = −0.60\npartial: −0.70",
    ]
    assert strategy.title(tables, **OPTIONS["strategy"]).endswith(": r = −0.60 [−0.90, 0.25]")


def test_dots_and_bars_count_the_models_of_each_cluster(tables, monkeypatch):
    options = {**OPTIONS["cluster_histogram"], "bins": 10}
    dots = cluster_histogram.draw(tables, **options).axes[0].lines
    assert [len(line.get_xdata()) for line in dots] == [LABELS.count(0), LABELS.count(1)]
    drawn = np.concatenate([line.get_xydata() for line in dots])
    assert len(np.unique(drawn, axis=0)) == len(LABELS)  # none hides another
    monkeypatch.setattr(cluster_histogram, "FEW", 0)
    figure = cluster_histogram.draw(tables, **options)
    larger, smaller = ([bar.get_height() for bar in c] for c in figure.axes[0].containers)
    values = tables["probes"].query("slice == 'lexical_overlap'")["value"].to_numpy()
    for heights, label in ((larger, 0), (smaller, 1)):
        own = values[np.array(LABELS) == label]
        assert heights == np.histogram(own, 10, (0, 1))[0].tolist()


def test_published_dots_are_the_rows_by_label_and_heuristic(tables):
    figure = published_models.draw(tables)
    left, right = figure.axes
    names = [text.get_text() for text in left.get_yticklabels()]
    assert names[2:] == ["NP/S", "adverb"] and sorted(names[:2]) == ["passive", "preposition"]
    gaps = tables["published_models"].set_index("name").loc[names[:2], ["small", "large"]]
    assert (gaps["small"] - gaps["large"]).is_monotonic_increasing
    rows = tables["published_models"].query("group in @published_models.GROUPS").set_index("name")
    bars = {str(bar.get_label()): bar for ax in figure.axes for bar in ax.containers
            if isinstance(bar, ErrorbarContainer)}  # fmt: skip
    for label, column in (
        ("larger cluster", "large"),
        ("smaller cluster", "small"),
        ("r with the smaller cluster", "r"),
        ("partial r given accuracy on MNLI", "partial"),
    ):
        marks, _, (interval,) = bars[label].lines
        np.testing.assert_array_equal(marks.get_xdata(), rows.loc[names, column])
        spans = [segment[:, 0] for segment in interval.get_segments() if len(segment)]
        ends = rows.loc[names, [f"{column}_low", f"{column}_high"]].dropna()
        np.testing.assert_allclose(spans, ends)
    assert len(right.texts) == 3


def test_the_table_of_clusters_has_a_line_an_experiment_and_measure(tables):
    check_options(cluster_table.table, {"experiments": ["nli"]}, "table")
    (line,) = cluster_table.table(tables, experiments=["nli"]).frame.to_dict("records")
    assert line == {
        "experiment": "nli", "measure": "convexity_gap", "clusters": 1, "p": "0.2",
        "apart": "1.2", "alike": "", "sizes": "4 + 2", "ratio": "4.50",
        "Rand, models": "0.95 [0.50, 1.00]", "Rand, examples": "",
        "triangles (%)": "12.3 [10.0, 20.0]",
    }  # fmt: skip
    with pytest.raises(UserError, match="experiment 'other'; there are: nli"):
        cluster_table.table(tables, experiments=["other"])


def test_the_table_of_published_models_has_a_line_a_set(tables):
    assert len(published_table.table(tables).frame) == 7
    frame = published_table.table(tables, groups=["in domain", "heuristic"]).frame
    assert frame["set"].tolist() == ["MNLI, matched", "lexical overlap"]
    assert frame["label"].tolist() == ["", "non-entailment"]
    assert frame["partial r"].tolist()[0] == "" and frame["p"].tolist()[0] == ""
    row = tables["published_models"].query("metric == 'Lexical (nonent)'").iloc[0]
    assert frame.loc[1, ["all", "larger", "smaller", "AUC"]].tolist() == [
        f"{100 * row['mean']:.1f}", f"{100 * row['large']:.1f}", f"{100 * row['small']:.1f}",
        f"{row['auc']:.3f}",
    ]  # fmt: skip
    assert frame.at[1, "r"] == f"{row['r']:.2f} [{row['r_low']:.2f}, {row['r_high']:.2f}]"


def test_small_gaps_have_short_numbers(tables):
    gaps = tables["barriers"]["convexity_gap"]
    barriers = tables["barriers"].assign(convexity_gap=3.2e-4 * gaps / gaps.max())
    figure = convexity_gaps.draw({**tables, "barriers": barriers}, **OPTIONS["convexity_gaps"])
    figure.canvas.draw()
    (axis,) = (ax.xaxis for ax in figure.axes if "convexity gap" in ax.get_xlabel())
    assert axis.get_offset_text().get_text().startswith("1e")
    assert max(len(label.get_text()) for label in axis.get_ticklabels()) <= 4
