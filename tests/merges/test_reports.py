"""Averages over sets of models, and the figure and the table that are made of them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from basins.errors import UserError
from basins.figures import merges as figure
from basins.figures import style
from basins.registry import check_options
from basins.statistics.merges import averages, gains
from basins.statistics.seeds import jackknife
from basins.tables import merges as table

LOSS = {"best": 0.5, "deep_ensemble": 0.4, "slerp": 0.7}
HARD = (0.0, 0.2, 0.1)  # what a set adds to every technique's loss


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    found = pd.DataFrame(
        {
            "merge": "m", "technique": technique, "alignment": alignment, "batchnorm": mode,
            "sources": f"a/seed{k} + b/seed{k}", "set": k, "eval_set": eval_set, "n": 100,
            "members": 2 if technique == "deep_ensemble" else 1,
            "loss": loss + HARD[k] + (alignment == "none") + 2 * (eval_set == "odd"),
            "loss_se": 0.01,
            "accuracy": 0.9 - loss / 10 - HARD[k],
        }
        for (technique, loss), alignment, mode, k, eval_set in product(
            LOSS.items(), ("none", "star"), ("reset", "repair"), range(3), ("test", "odd")
        )
        if technique != "best" or alignment == "none"
    )  # fmt: skip
    return {"merge/m": found}


def pick(summary: pd.DataFrame, **equal: str) -> pd.Series:
    for column, value in equal.items():
        summary = summary.loc[summary[column] == value]
    [(_, row)] = summary.iterrows()
    return row


CHOSEN = {"technique": "slerp", "alignment": "none", "batchnorm": "reset", "eval_set": "test"}


def test_averages_are_over_sets(tables):
    row = pick(averages(tables["merge/m"], 0.95), **CHOSEN, metric="loss")
    values = 1.7 + np.array(HARD)
    expected = jackknife(values, [np.arange(3)], 0.95)
    for name in ("mean", "ci_low", "ci_high", "seeds"):
        assert row[name] == pytest.approx(expected[name])
    assert row["mean"] == pytest.approx(1.8) and row["seeds"] == 3


def test_gains_are_paired_so_that_a_hard_set_does_not_matter(tables):
    less = gains(tables["merge/m"], "best", 0.95)
    row = pick(less, **CHOSEN, metric="loss")
    assert [row[c] for c in ("mean", "ci_low", "ci_high")] == pytest.approx([0.2] * 3)
    assert pick(less, **{**CHOSEN, "technique": "best"}, metric="accuracy")["mean"] == 0


def test_the_table_has_a_row_a_choice(tables):
    found = table.table(tables, merge="m").frame
    assert len(found) == 10
    star = pick(found, technique="slerp", alignment="star", batchnorm="reset")
    assert star["loss − best model"] == "-0.800 [-0.800, -0.800]"
    assert star["loss − ensemble"] == "0.300 [0.300, 0.300]"
    row = pick(found, technique="slerp", alignment="none", batchnorm="reset")
    assert row["loss − best model"] == "0.200 [0.200, 0.200]"
    assert row["loss − ensemble"] == "0.300 [0.300, 0.300]"
    assert row["loss on the test set"].startswith("1.800 [")
    assert row["accuracy on odd (%)"].startswith("73.0 [")
    one = table.table(tables, merge="m", alignments=["star"], batchnorm=["repair"]).frame
    assert len(one) == 2 and one["loss on the test set"].iloc[0].startswith("0.500")
    alone = {"merge/m": tables["merge/m"].query("technique == 'slerp' and set == 0")}
    cells = table.table(alone, merge="m", eval_sets=["odd"]).frame
    assert list(cells["loss on odd"]) == ["3.700", "3.700", "2.700", "2.700"]
    assert not [c for c in cells if "−" in c]


def test_the_figure_shows_means_single_sets_and_references(tables):
    chosen = {"merge": "m", "alignments": ["none"], "batchnorm": ["reset"]}
    first, *_ = figure.draw(tables, **chosen).axes
    order = [t.get_text() for t in first.get_yticklabels()]
    assert order == ["deep ensemble", "best single model", "SLERP"]  # by loss
    families = {"best": "reference", "deep_ensemble": "ensembling", "slerp": "aggregation"}
    known = {"technique": families.keys(), "family": families.values(), "base": False}
    drawn = figure.draw(tables | {"merge/m.techniques": pd.DataFrame(known)}, **chosen)
    loss, accuracy, other = drawn.axes
    order = [t.get_text() for t in loss.get_yticklabels()]
    assert order == ["best single model", "deep ensemble", "SLERP"]  # by kind
    dots, _, _ = loss.containers[0]
    at = dict(zip(np.array(dots.get_ydata(), float), dots.get_xdata(), strict=True))
    assert at == pytest.approx({0.0: 1.6, 1.0: 1.5, 2.0: 1.8})
    [single] = [line for line in loss.lines if len(line.get_xdata()) == 9]
    assert sorted(single.get_xdata()) == pytest.approx(
        sorted(1 + value + hard for value in LOSS.values() for hard in HARD)
    )
    lines = [line.get_xdata()[0] for line in loss.lines if list(line.get_ydata()) == [0, 1]]
    assert lines == pytest.approx([1.6, 1.5])
    assert "loss" in loss.get_xlabel() and "%" in accuracy.get_xlabel()
    assert other.get_title() == "odd"
    assert figure.title(tables, merge="m").startswith("Accuracy by merging technique: ")


def test_several_ways_are_cells(tables):
    loss, accuracy, _ = figure.draw(tables, merge="m").axes
    lines = ["deep ensemble, units not matched", "deep ensemble, star"]
    lines += ["SLERP, units not matched", "SLERP, star", "best single model"]
    assert [t.get_text() for t in loss.get_yticklabels()] == lines
    assert [t.get_text() for t in loss.get_xticklabels()] == ["recomputed", "REPAIR"]
    expected = [1.5, 0.5, 1.8, 0.8, 1.6]
    np.testing.assert_allclose(loss.images[0].get_array(), np.transpose([expected] * 2))
    assert {text.get_text() for text in accuracy.texts} == {"75", "76", "73"}


def test_what_is_absent_is_named(tables):
    for make in (figure.draw, table.table):
        with pytest.raises(UserError, match="no table 'merge/n'"):
            make(tables, merge="n")
        with pytest.raises(UserError, match="no row with alignment 'universe'"):
            make(tables, merge="m", alignments=["universe"])
        check_options(make, {"merge": "m", "batchnorm": ["reset"], "confidence": 0.9}, "x")


def test_the_files_repeat(tables, tmp_path):
    first, second = (
        [f.read_bytes() for f in style.save(figure.draw(tables, merge="m"), tmp_path / name)]
        for name in ("one", "two")
    )
    assert first == second
    assert "SoK" in figure.caption(merge="m", batchnorm=["reset"])
