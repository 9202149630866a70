"""Samples: the examples themselves, and which of a set they are."""

import base64
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from basins.data import acceptability, nli, paraphrase, samples
from basins.data.images import Split
from basins.data.samples import chosen, of_images, of_text, table
from basins.data.text import TextData, fields

RNG = np.random.default_rng(0)
KNOWN = ["dataset", "eval_set", "example", "label", "class"]


def sets(labels: list[int]) -> dict[str, Split]:
    shape = (len(labels), 6, 5, 3)
    return {
        name: Split(RNG.integers(0, 256, shape, dtype=np.uint8), np.array(labels))
        for name in ("nc", "rc")
    }


def decoded(png: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))


def test_rows_hold_the_first_image_of_each_class_in_each_set() -> None:
    given = sets([2, 0, 2, 0])
    rows = table(of_images("shapes", given, ("disc", "star", "cross")))
    assert list(rows.columns) == samples.COLUMNS
    assert rows[KNOWN].to_numpy().tolist() == [
        ["shapes", "nc", 1, 0, "disc"],
        ["shapes", "nc", 0, 2, "cross"],
        ["shapes", "rc", 1, 0, "disc"],
        ["shapes", "rc", 0, 2, "cross"],
    ]
    for row in rows.to_dict("records"):
        expected = given[row["eval_set"]].images[row["example"]]
        np.testing.assert_array_equal(decoded(row["png"]), expected)
    assert set(rows["text"].isna()) == {True}


@pytest.mark.parametrize(("present", "shown"), [(range(12), 10), (range(3, 12), 9)])
def test_at_most_ten_classes_are_shown(present: range, shown: int) -> None:
    images = sets([*reversed(present)])
    rows = table(of_images("x", images, tuple(map(str, range(12)))))
    assert rows.groupby("eval_set").label.apply(list).tolist() == [list(present)[:shown]] * 2


def test_the_same_images_are_the_same_rows() -> None:
    given = sets([0, 1])
    first, second = (table(of_images("x", given, ("a", "b"))) for _ in range(2))
    assert first.equals(second)


def test_of_all_labels_equally_many_are_chosen_the_first() -> None:
    columns = pd.DataFrame({"label": [1, 1, 0, 2, 1, 0, 1, 0, 2, 2, 0, 2]})
    assert chosen(columns) == [2, 5, 7, 0, 1, 4, 3, 8, 9]
    assert chosen(columns, each=1) == [2, 0, 3]
    assert chosen(columns.iloc[:2]) == [0, 1]


def test_kinds_are_the_most_that_are_no_more_than_ten() -> None:
    columns = pd.DataFrame({"label": [k % 2 for k in range(60)], "coarse": "one"})
    columns["fine"] = [str(k // 2 % 3) for k in range(60)]
    columns["each_its_own"] = [str(k) for k in range(60)]
    assert chosen(columns) == [0, 2, 4, 1, 3, 5]  # 2 labels of 3 kinds, once each
    assert chosen(columns.drop(columns="fine")) == [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]


SIZES = {"train": 40, "test": 200, "counterexamples": 10}
TEXTS = {
    "nli": nli.load(source="synthetic", root=Path(), seed=0, diagnostic=10, **SIZES),
    "paraphrase": paraphrase.load(source="synthetic", root=Path(), seed=0, diagnostic=100, **SIZES),
    "acceptability": acceptability.load(
        source="synthetic", root=Path(), seed=0, diagnostic=100, **SIZES
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_are_those_of_their_sets_and_none_are_of_training(name: str) -> None:
    data: TextData = TEXTS[name]
    rows = table(of_text(name, data.splits, data.classes))
    assert set(rows["eval_set"]) == set(data.classes) - {"train", "counterexamples"}
    assert set(rows["eval_set"].value_counts()) <= {*range(2, 11)}
    assert set(rows["png"].isna()) == {True}
    for row in rows.to_dict("records"):
        columns, k = data.splits[row["eval_set"]], row["example"]
        assert row["text"].split("\n") == [columns[field][k] for field in fields(columns)]
        assert row["label"] == columns["label"][k]
        assert row["class"] == data.classes[row["eval_set"]][row["label"]]
    for _, own in rows.groupby("eval_set"):
        order = [*zip(own["label"], own["example"], strict=True)]
        assert order == sorted(set(order))


def test_hans_is_shown_by_subcase_where_there_are_few() -> None:
    data = TEXTS["nli"]
    rows = table(of_text("nli", data.splits, data.classes))
    subcases, heuristics = (
        [data.splits[split][column][k] for k in rows.query("eval_set == @split")["example"]]
        for split, column in (("lexical_overlap", "subcase"), ("hans", "heuristic"))
    )
    assert sorted(subcases) == sorted(2 * list(dict.fromkeys(subcases))) and len(subcases) == 10
    assert sorted(heuristics) == sorted(2 * list(nli.HEURISTICS.values()))


def test_where_no_classes_are_given_there_is_an_empty_table() -> None:
    rows = table(of_text("nli", TEXTS["nli"].splits, {}))
    assert rows.empty and list(rows.columns) == samples.COLUMNS
