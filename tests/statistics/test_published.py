"""The re-analysis of published models: a small made-up table, and the published one itself."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from basins.errors import UserError
from basins.statistics import published

HEADER = "\ufeffRun,MNLI dev acc.,Lexical (nonent),Overall accuracy,ln_passive,ce_adverb"
# Of six runs, 1 and 4 are the smaller cluster.
RUNS = [
    "Run 0,0.84,0.30,0.55,0.0,1",
    "Run 1,0.83,0.10,0.52,0.0,1",
    "Run 2,0.85,0.40,0.56,0.1,1",
    "Run 3,0.84,0.20,0.55,0.2,1",
    "Run 4,0.83,0.05,0.53,0.0,1",
    "Run 5,0.85,0.50,0.58,0.1,1",
]
SUMMARY = ["Minimum,0.83,0.05,0.52,0,1", ",,,,,"]


def read(tmp_path, lines):
    file = tmp_path / "runs.csv"
    file.write_text("\n".join(lines))
    return published.read(file)


def test_runs_are_read_without_the_summary_below_them(tmp_path):
    table = read(tmp_path, [HEADER, *RUNS, *SUMMARY])
    assert table.index.tolist() == list(range(6)) and len(table.columns) == 5
    assert table.at[3, "ln_passive"] == 0.2


def test_what_is_not_the_table_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        published.read(tmp_path / "absent.csv")
    for lines, wrong in (
        ([HEADER.replace("Overall", "All"), *RUNS], "no column 'Overall accuracy'"),
        ([HEADER.replace("Run", "Seed"), *RUNS], "not the table"),
        ([HEADER, *RUNS, RUNS[0]], "once"),
        ([HEADER, RUNS[0].replace("0.84", "84")], "from 0 to 1"),
        ([HEADER, RUNS[0].replace("0.84", "high")], "not the table"),
        ([HEADER, RUNS[0].replace("0.84", "")], "from 0 to 1"),
        ([HEADER], "once"),
    ):
        with pytest.raises(UserError, match=wrong):
            read(tmp_path, lines)


def test_rows_are_hand_computed(tmp_path):
    table = read(tmp_path, [HEADER, *RUNS])
    found = published.analyse(table, np.random.default_rng(0), small=(1, 4), resamples=500)
    assert found["metric"].tolist() == table.columns.tolist()
    row = found.set_index("metric").loc["Lexical (nonent)"]
    assert row[["group", "name", "label", "n", "n_small"]].tolist() == [
        "heuristic", "lexical overlap", "non-entailment", 6, 2
    ]  # fmt: skip
    values = table["Lexical (nonent)"].to_numpy()
    assert row["large"] == pytest.approx(0.35) and row["small"] == pytest.approx(0.075)
    assert row["difference"] == pytest.approx(-0.275) and row["auc"] == 1
    assert (row["mean"], row["sd"]) == pytest.approx((values.mean(), values.std()))
    member = np.array([0, 1, 0, 0, 1, 0])
    assert row["r"] == pytest.approx(np.corrcoef(member, values)[0, 1])
    assert -1 <= row["r_low"] <= row["r"] <= row["r_high"] < 0.3
    assert row["small_low"] < row["small"] < row["small_high"]
    assert row["p"] == pytest.approx(2 / 15, abs=0.05)  # of all pairs, two are as far apart
    constant = found.set_index("metric").loc["ce_adverb"]
    assert constant[["r", "partial", "p"]].isna().all() and constant["auc"] == 0.5
    assert np.isnan(found.set_index("metric").at["MNLI dev acc.", "partial"])
    with pytest.raises(UserError, match="no run 9"):
        published.analyse(table, np.random.default_rng(0), small=(1, 9))


def test_columns_are_told_apart():
    assert published.group("MNLI dev acc.")[0] == "in domain"
    assert published.group("Subseq (entailed)") == ("heuristic", "subsequence", "entailment")
    assert published.group("cn_embedded_under_if") == (
        "constituent", "embedded under if", "non-entailment"
    )  # fmt: skip
    assert published.group("le_passive") == ("lexical overlap", "passive", "entailment")
    with pytest.raises(UserError, match="'xn_passive'"):
        published.group("xn_passive")


@pytest.mark.real
def test_the_published_table_gives_the_known_numbers():
    """Section 5.2 of the notes: means of all, large and small cluster, r, and AUC."""
    root = os.environ.get("BASINS_DATA")
    file = Path(root or ".") / "published" / "berts_of_a_feather_accuracies_by_run.csv"
    if not file.exists():
        pytest.skip("BASINS_DATA names no folder with the published accuracies")
    found = published.analyse(published.read(file), np.random.default_rng(0), resamples=500)
    assert len(found) == 38 and set(found["n"]) == {100} and set(found["n_small"]) == {12}
    assert (found["group"].isin(published.HEURISTICS.values())).sum() == 30
    known = pd.DataFrame(
        {
            "MNLI dev acc.": (0.8434, 0.8440, 0.8393, -0.630),
            "Lexical (nonent)": (0.2766, 0.3011, 0.0964, -0.541),
            "ln_subject/object_swap": (0.190, 0.216, 0.0008, -0.406),
            "ln_preposition": (0.411, 0.451, 0.123, -0.605),
            "ln_conjunction": (0.448, 0.479, 0.219, -0.558),
            "ln_relative_clause": (0.329, 0.354, 0.140, -0.503),
            "ln_passive": (0.005, 0.006, 0.000, -0.21),
            "Subseq (nonent)": (0.0518, 0.0548, 0.0300, -0.336),
            "Constituent (nonent)": (0.1305, 0.1252, 0.1693, 0.354),
            "Lexical (entailed)": (0.958, 0.958, 0.963, 0.14),
            "Overall accuracy": (0.5668, 0.5706, 0.5397, -0.43),
        },
        index=["mean", "large", "small", "r"],
    ).T
    ours = found.set_index("metric").loc[known.index, known.columns]
    assert (ours[["mean", "large", "small"]] - known).abs().max().max() < 6e-4
    assert (ours["r"] - known["r"]).abs().max() < 6e-3
    auc = found.set_index("metric")["auc"]
    for metric, value in {
        "Lexical (nonent)": 0.976,
        "ln_subject/object_swap": 0.982,
        "MNLI dev acc.": 0.962,
        "Constituent (nonent)": 0.170,
    }.items():
        assert auc[metric] == pytest.approx(value, abs=6e-4)
    sd = found.set_index("metric")["sd"]
    assert sd["MNLI dev acc."] == pytest.approx(0.0024, abs=5e-5)
    assert sd["Lexical (nonent)"] == pytest.approx(0.123, abs=5e-4)
