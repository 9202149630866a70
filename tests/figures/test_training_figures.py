"""A sweep and the dynamics of clusters carry the numbers of their rows, and refuse clearly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from basins.errors import UserError
from basins.figures import dynamics, style, sweep
from basins.registry import check_options

SWEEP = {
    "recipes": {"0 %": "forced/none", "30 %": "forced/many"},
    "slices": ["overlap", "constituent"],
    "setting": "share of counterexamples",
}
DYNAMICS = {"early": "early", "final": "nli", "slice": "overlap"}


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    ids = [
        (recipe, slice_, seed)
        for recipe in ("forced/many", "forced/none", "nli")
        for slice_ in SWEEP["slices"]
        for seed in range(3)
    ]
    probes = pd.DataFrame(ids, columns=["recipe", "slice", "seed"])
    probes = probes.assign(metric="accuracy", value=np.linspace(0.1, 0.9, len(probes)))
    means = probes.groupby(["recipe", "slice", "metric"], as_index=False)["value"].mean()
    means = means.rename(columns={"value": "mean"})
    clusters = pd.DataFrame(
        {"experiment": name, "measure": "convexity_gap", "model": f"{folder}/seed{k}",
         "cluster": cluster, "score": score}
        for name, folder, labels, scores in (
            ("nli", "nli", (0, 0, 1), (-2.0, -1.0, 4.0)),
            ("early", "nli/step5", (0, 1, 1), (-0.1, 0.1, 0.2)),
        )
        for k, (cluster, score) in enumerate(zip(labels, scores, strict=True))
    )  # fmt: skip
    spread = means.assign(ci_low=means["mean"] - 0.1, ci_high=means["mean"] + 0.2)
    return {"probes": probes, "summary/probes": spread, "clusters": clusters}


def test_a_sweep_draws_every_model_and_the_means(tables):
    check_options(sweep.draw, SWEEP, "figure")
    (ax,) = sweep.draw(tables, **SWEEP).axes
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0 %", "30 %"]
    own = tables["probes"].set_index(["recipe", "slice"])["value"]
    lines = {str(line.get_label()): line for line in ax.lines}
    for slice_ in SWEEP["slices"]:
        drawn = lines[f"{slice_} seeds"].get_xydata()
        for k, recipe in enumerate(SWEEP["recipes"].values()):
            np.testing.assert_allclose(drawn[np.rint(drawn[:, 0]) == k, 1], own[recipe, slice_])
    bars = {str(bar.get_label()): bar for bar in ax.containers}
    for name in SWEEP["slices"]:
        mean, _, (interval,) = bars[f"{name} mean"].lines
        (span, _) = (segment[:, 1] for segment in interval.get_segments())
        np.testing.assert_allclose(span - mean.get_ydata()[0], [-0.1, 0.2])


def test_a_label_of_several_settings_is_not_joined_to_those_of_one(tables):
    recipes = {".1": "forced/many", ".3": "forced/none", ".1, more epochs": "nli"}
    (ax,) = sweep.draw(tables, **{**SWEEP, "recipes": recipes}).axes
    assert [text.get_text() for text in ax.get_xticklabels()] == [".1", ".3", ".1,\nmore epochs"]
    points = [len(bar.lines[0].get_xydata()) for bar in ax.containers]
    assert points == [2, 1] * len(SWEEP["slices"])


def test_a_sweep_over_techniques_of_a_merge():
    """Sets stand for seeds: what is subtracted, nothing, and what is added; an end beside them."""
    options = {"recipes": {"−1": "less", "0": "nothing", "1": "more"}, "merge": "vector"}
    options |= {"beside": {"20 % itself": "end"}}
    options |= {"slices": ["test", "overlap"], "setting": "coefficient"}
    ids = {"alignment": "none", "batchnorm": "interpolate", "members": 1, "loss": 0.5}
    values = {"less": (0.1, 0.2, 0.3), "nothing": (0.4, 0.5, 0.6), "more": (0.7, 0.8, 0.9)}
    values["end"] = (0.6, 0.7, 0.8)
    merged = pd.DataFrame(
        {**ids, "technique": name, "eval_set": on, "set": k, "accuracy": 0.5 if on == "test" else v}
        for name in ("end", "more", "less", "nothing")  # in another order than the options
        for on in options["slices"]
        for k, v in enumerate(values[name])
    )
    check_options(sweep.draw, options, "figure")
    (ax,) = sweep.draw({"merge/vector": merged}, **options).axes
    lines = {str(line.get_label()): line.get_xydata() for line in ax.lines}
    for k, name in enumerate(options["recipes"].values()):
        dots = lines["overlap seeds"]
        np.testing.assert_allclose(dots[np.rint(dots[:, 0]) == k, 1], values[name])
    means = {str(bar.get_label()): bar.lines[0].get_xydata()[:, 1] for bar in ax.containers}
    np.testing.assert_allclose(means["overlap mean"], [0.2, 0.5, 0.8])
    np.testing.assert_allclose(means["test mean"], 0.5)
    across = [line.get_ydata() for line in ax.lines if list(line.get_xdata()) == [0, 1]]
    np.testing.assert_allclose(across, [[0.5, 0.5], [0.7, 0.7]])
    said = sweep.title({"merge/vector": merged}, **options)
    assert said == "Accuracy on overlap, coefficient: 20 % at −1; 80 % at 1"
    assert "every merge" in sweep.caption(**options) and "20 % itself" in sweep.caption(**options)


def gaps():
    ids = {"experiment": "forced", "path": "linear", "alignment": "none", "eval_set": "test"}
    ids |= {"metric": "loss", "definition": "convexity_gap"}
    rows = [
        {**ids, "recipe_a": a, "recipe_b": b, "mean": mean, "ci_low": mean - 1, "ci_high": mean + 2}
        for a, b, mean in (
            ("forced/none", "forced/none", 0.1),
            ("forced/none", "forced/many", 7.0),
            ("forced/many", "forced/many", 0.3),
        )
    ]
    later = [{**row, "experiment": "later", "mean": 9.0} for row in rows]
    return pd.DataFrame([*later, *rows, {**rows[0], "definition": "barrier_mid", "mean": 8.0}])


def test_a_sweep_draws_the_gaps_of_the_first_experiment_that_has_them(tables):
    tables["summary/barriers"] = gaps()
    options = {**SWEEP, "experiments": ["forced", "later"]}
    check_options(sweep.draw, options, "figure")
    _, ax = sweep.draw(tables, **options).axes
    mean, _, (interval,) = ax.containers[0].lines
    np.testing.assert_allclose(mean.get_xydata(), [(0, 0.1), (1, 0.3)])
    np.testing.assert_allclose(interval.get_segments()[1][:, 1], [-0.7, 2.3])
    assert "convexity gap" in sweep.caption(**options)
    tables["summary/barriers"] = gaps().query("recipe_a != 'forced/many'")
    with pytest.raises(UserError, match="no pairs within forced/many in: forced, later"):
        sweep.draw(tables, **options)


def test_arrows_go_from_the_early_score_to_the_final_one(tables):
    check_options(dynamics.draw, DYNAMICS, "figure")
    (ax,) = dynamics.draw(tables, **DYNAMICS).axes
    values = tables["probes"].query("recipe == 'nli' and slice == 'overlap'")["value"].tolist()
    tips = np.array([text.xy for text in ax.texts])
    starts = np.array([text.xyann for text in ax.texts])
    np.testing.assert_allclose(tips, np.transpose([(-0.5, -0.25, 1.0), values]))
    np.testing.assert_allclose(starts, np.transpose([(-0.5, 0.5, 1.0), values]))
    figure = ax.figure
    figure.draw_without_rendering()
    label = ax.xaxis.label.get_window_extent()
    assert figure.bbox.x0 <= label.x0 and label.x1 <= figure.bbox.x1  # it was cut
    dashed = [text.arrow_patch.get_linestyle() not in ("-", "solid") for text in ax.texts]
    assert dashed == [False, True, False]


def test_the_title_says_how_many_models_change_groups_and_how_many_would_by_chance(tables):
    # Of 3 models in 2 + 1 and 1 + 2, by names that fit best: none with probability 1/3, else one.
    said = dynamics.title(tables, **DYNAMICS)
    assert said.startswith("1 of 3 models changes groups")
    assert "(0.67 if the two were independent)" in said
    drawn = np.random.default_rng(0)
    labels = np.array([0] * 7 + [1] * 5)
    changed = [(labels != drawn.permutation(labels)).sum() for _ in range(4000)]
    usual = np.mean([min(k, 12 - k) for k in changed])
    assert dynamics.by_chance(12, 5, 5) == pytest.approx(usual, abs=0.1)


def test_groups_that_swap_their_sizes_are_the_same_groups(tables):
    clusters = tables["clusters"]
    early = clusters["experiment"] == "early"
    clusters.loc[early, "cluster"] = [1, 1, 0]  # as at the end, by other names
    assert dynamics.title(tables, **DYNAMICS).startswith("0 of 3 models change groups")
    (ax,) = dynamics.draw(tables, **DYNAMICS).axes
    starts = [text.xyann[0] for text in ax.texts]
    np.testing.assert_allclose(starts, [0.5, -0.5, -1.0])  # scores have the other sign


@pytest.mark.parametrize(("figure", "options"), [(sweep, SWEEP), (dynamics, DYNAMICS)])
def test_both_repeat_and_name_what_is_absent(figure, options, tables, tmp_path):
    saved = [style.save(figure.draw(tables, **options), tmp_path / f"{k}") for k in "ab"]
    for first, second in zip(*saved, strict=True):
        assert Path(first).read_bytes() == Path(second).read_bytes()
    assert figure.caption(**options).endswith(".")
    with pytest.raises(UserError, match="no table 'probes'"):
        figure.draw({k: rows for k, rows in tables.items() if k != "probes"}, **options)


@pytest.mark.parametrize(
    ("labels", "places"),
    [
        (["0 %", "6 %", "13 %", "30 %"], [0, 0.6, 1.3, 3]),
        (["0 %", "1 %", "5 %", "20 %"], [0, 1, 2, 3]),  # 1 % would touch 0 %
        (["1", "10", "100"], [0, 1, 2]),  # logarithmic
        (["one", "new"], [0, 1]),
        (["3", "3"], [0, 1]),
    ],
)
def test_values_of_a_sweep_stand_to_scale_where_their_labels_fit(labels, places):
    assert sweep._places(labels) == pytest.approx(places)
