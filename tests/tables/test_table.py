"""Every table shows the numbers of its rows, in percent, and names what is absent."""

from __future__ import annotations

from itertools import product
from math import isnan, nan

import pandas as pd
import pytest

from basins.claims.published import PUBLISHED
from basins.errors import UserError
from basins.registry import check_options, find, names
from basins.tables import accuracy, barriers, fine_tuning
from basins.tables.table import interval

SLICES = ("ri", "c", "rc", "nc")
RECIPES = ("cued", "group/small", "group/cbft", "other/small", "other/cbft")
METHODS = {"cbft": "CBFT", "small": "fine-tuned, lr 0.001"}
GROUPS = {"60": "group", "70": "other"}


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    """Accuracies and barriers that differ from row to row."""
    probes = pd.DataFrame(
        {
            "recipe": recipe, "diagnostic": "counterfactual", "slice": s, "metric": metric,
            "mean": 0.1 * r + 0.01 * k, "seeds": r + 1,
        }
        for (r, recipe), (k, s) in product(enumerate(RECIPES), enumerate(SLICES))
        for metric in ("loss", "accuracy")
    )  # fmt: skip
    rows = pd.DataFrame(
        {
            "experiment": experiment, "recipe_a": "cued", "recipe_b": "plain", "init": "shared",
            "path": path, "alignment": "none", "batchnorm": "reset", "eval_set": "nc",
            "metric": metric, "definition": definition, "mean": 0.1 * k, "seeds": 3, "pairs": 6,
        }
        for k, (experiment, path) in enumerate(product(("one", "two"), ("linear", "bezier")))
        for metric, definition in product(
            ("loss", "error"), ("barrier_mid", "barrier_linear")
        )
    )  # fmt: skip
    return {
        name: table.assign(ci_low=lambda f: f["mean"] - 0.015, ci_high=lambda f: f["mean"] + 0.015)
        for name, table in {"summary/probes": probes, "summary/barriers": rows}.items()
    }


def test_every_table_is_found_with_its_options():
    chosen = {"accuracy": {}, "barriers": {"experiments": ["one"]}}
    chosen["fine_tuning"] = {"groups": GROUPS, "methods": METHODS, "published": "cifar10"}
    chosen |= {"clusters": {}, "published_models": {}, "merges": {"merge": "one"}}
    chosen["techniques"] = {
        "cases": {"NLI": {"merge": "nli", "eval_set": "test", "mechanism": "hans"}}
    }
    assert names("tables", "table") == sorted(chosen)
    for name, options in chosen.items():
        check_options(find("tables", name, "table"), options, name)
    with pytest.raises(UserError, match="published.*'mnist'"):
        check_options(
            fine_tuning.table, {**chosen["fine_tuning"], "published": "mnist"}, "fine_tuning"
        )


def test_accuracy_is_in_percent_and_of_the_chosen_recipes(tables):
    assert len(accuracy.table(tables).frame) == 20
    frame = accuracy.table(tables, recipes=["group/cbft", "cued"]).frame
    assert list(frame) == ["recipe", "slice", "mean", "ci_low", "ci_high", "seeds"]
    assert frame["recipe"].tolist() == ["group/cbft"] * 4 + ["cued"] * 4
    assert frame["mean"].tolist() == pytest.approx([20, 21, 22, 23, 0, 1, 2, 3])
    assert frame["ci_high"].tolist() == pytest.approx([21.5, 22.5, 23.5, 24.5, 1.5, 2.5, 3.5, 4.5])


def test_barriers_are_linear_ones_of_the_error_by_path(tables):
    assert barriers.table(tables).frame["mean"].tolist() == pytest.approx([0, 10, 20, 30])
    frame = barriers.table(tables, experiments=["two"]).frame
    assert frame[["experiment", "path", "seeds", "pairs"]].to_numpy().tolist() == [
        ["two", "linear", 3, 6],
        ["two", "bezier", 3, 6],
    ]
    assert frame["ci_low"].tolist() == pytest.approx([18.5, 28.5])


def test_fine_tuning_has_a_row_a_method_and_the_cue_model_first(tables):
    found = fine_tuning.table(tables, groups=GROUPS, methods=METHODS, start={"60": "cued"})
    assert list(found.frame) == ["cue %", "method", "NC", "C", "RC", "RI", "seeds"]
    assert found.frame.to_numpy().tolist() == [
        ["60", "cue-trained model", "3.0 [1.5, 4.5]", "1.0 [-0.5, 2.5]", "2.0 [0.5, 3.5]",
         "0.0 [-1.5, 1.5]", 1],
        ["60", "CBFT", "23.0 [21.5, 24.5]", "21.0 [19.5, 22.5]", "22.0 [20.5, 23.5]",
         "20.0 [18.5, 21.5]", 3],
        ["60", "fine-tuned, lr 0.001", "13.0 [11.5, 14.5]", "11.0 [9.5, 12.5]",
         "12.0 [10.5, 13.5]", "10.0 [8.5, 11.5]", 2],
        ["70", "CBFT", "43.0 [41.5, 44.5]", "41.0 [39.5, 42.5]", "42.0 [40.5, 43.5]",
         "40.0 [38.5, 41.5]", 5],
        ["70", "fine-tuned, lr 0.001", "33.0 [31.5, 34.5]", "31.0 [29.5, 32.5]",
         "32.0 [30.5, 33.5]", "30.0 [28.5, 31.5]", 4],
    ]  # fmt: skip


def test_one_seed_has_no_interval(tables):
    tables["summary/probes"] = tables["summary/probes"].assign(ci_low=nan, ci_high=nan)
    frame = fine_tuning.table(tables, groups={"60": "group"}, methods=METHODS).frame
    assert frame["NC"].tolist() == ["23.0", "13.0"]


def test_published_numbers_stand_beside_ours_with_their_digits(tables):
    options = {"groups": GROUPS, "methods": METHODS, "start": {"60": "cued"}}
    frame = fine_tuning.table(tables, **options, published="cifar10").frame
    beside = frame[[f"paper {s}" for s in ("NC", "C", "RC", "RI")]]
    assert beside.isna().all(axis=1).tolist() == [True, False, False, False, False]
    assert beside.iloc[1:].to_numpy().tolist() == [
        ["74.1", "71.5", "73.4", "8.75"],
        ["75.8", "98.7", "17.5", "90.1"],
        ["73.2", "69.2", "72.3", "8.60"],
        ["74.9", "98.8", "16.3", "91.1"],
    ]
    assert frame["number matches"].tolist()[1:] == 4 * ["none"]  # ours are below 45
    assert frame["place matches"].tolist()[1:] == 4 * ["RC"]
    assert frame.filter(like="matches").iloc[0].isna().all()
    unknown = fine_tuning.table(tables, **options, published="cifar100").frame
    assert unknown.filter(regex="paper|matches").isna().all(axis=None)


def test_published_numbers_agree_with_what_the_paper_derives_from_them():
    """|NC - RC| <= .9, |NC - C| <= 4.6, RI <= 13.1; NC - FTM; small rates read the cue alone."""
    table = PUBLISHED["cifar10"]
    assert list(table) == ["60", "70", "80", "90"]
    differences = []
    for methods in table.values():
        nc, c, rc, ri = methods["cbft"]
        assert abs(nc - rc) < 0.95 and abs(nc - c) < 4.65 and ri <= 13.1
        differences.append(nc - methods["medium"][0])
        small_nc, _, small_rc, _ = methods["small"]
        assert small_rc == pytest.approx(9 + small_nc / 10, abs=1)
        assert min(methods[k][3] for k in ("small", "medium", "llrt", "lpft")) >= 37.8
        assert all(isnan(value) for value in methods["scratch"][1:])
    assert differences == pytest.approx([-1.6, -2.6, -1.3, 0.7])


def test_what_is_absent_is_named(tables):
    options = {"groups": {"60": "group"}, "methods": {"large": "large rate"}}
    with pytest.raises(UserError, match="recipe 'group/large'; there are: cued, group/cbft"):
        fine_tuning.table(tables, **options)
    with pytest.raises(UserError, match="experiment 'three'; there are: one, two"):
        barriers.table(tables, experiments=["three"])
    with pytest.raises(UserError, match="no table 'summary/probes'"):
        accuracy.table({})


def test_an_interval_stands_as_far_as_there_is_one():
    assert interval(".2f", 0.5, 0.25, 0.75) == "0.50 [0.25, 0.75]"
    assert interval("z.1f", -0.01, -1, 1) == "0.0 [-1.0, 1.0]"
    assert interval(".2f", 0.5, nan, nan) == "0.50"
    assert interval(".2f", nan, nan, nan) == ""
