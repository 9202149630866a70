"""Text datasets: what is refused, and what is read back, the same bytes every time."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets import ClassLabel, Value, load_from_disk

from basins.data import text
from basins.data.text import TextData
from basins.errors import UserError
from basins.store import folder_hash

CLASSES = ("no", "yes")
TRAIN = {"premise": ["A", "B", "B"], "hypothesis": ["a", "b", "c"], "label": [0, 1, 1]}
HANS = {"premise": ["Ä"], "hypothesis": ['"q"'], "label": [2], "heuristic": ["x"], "count": [7]}
DATA = TextData({"train": TRAIN, "hans": HANS}, {"train": CLASSES, "hans": ("a", "b", "c")}, {})


def changed(split: str = "train", **columns) -> TextData:
    return DATA._replace(splits=DATA.splits | {split: DATA.splits[split] | columns})


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    text.check(DATA, "mine")
    text.save(tmp_path, DATA)
    for split, columns in DATA.splits.items():
        assert text.read(tmp_path, split) == columns
        assert text.class_names(tmp_path, split) == DATA.classes[split]


def test_the_datasets_library_reads_it_too(tmp_path: Path) -> None:
    text.save(tmp_path, DATA)
    loaded = load_from_disk(tmp_path)
    assert {split: rows.to_dict() for split, rows in loaded.items()} == DATA.splits
    features = loaded["hans"].features
    assert features["label"] == ClassLabel(names=["a", "b", "c"])
    assert (features["premise"], features["count"]) == (Value("string"), Value("int64"))


def test_the_same_content_is_the_same_bytes(tmp_path: Path) -> None:
    other = changed(hypothesis=["a", "b", "d"])
    for name, data in (("a", DATA), ("b", DATA), ("c", other)):
        text.save(tmp_path / name, data)
    hashes = [folder_hash(tmp_path / name) for name in "abc"]
    assert hashes[0] == hashes[1] != hashes[2]


def test_sentences_need_no_labels(tmp_path: Path) -> None:
    data = TextData({"train": {"sentence1": ["a"], "sentence2": ["b"]}}, {}, {})
    text.check(data, "mine")
    text.save(tmp_path, data)
    assert text.read(tmp_path, "train") == data.splits["train"]
    with pytest.raises(UserError, match="the split 'train' has no labels"):
        text.class_names(tmp_path, "train")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (changed(hypothesis=["a", " ", "\t"]), "train: 2 of 3 rows have an empty sentence .*row 1"),
        (changed(hypothesis=["a", "b", None]), "train: 1 of 3 rows have an empty sentence .*row 2"),
        (changed(label=[0, 2, 1]), "train: 1 of 3 rows have a label .* from 0 to 1 .*row 1"),
        (changed(label=[-1, 1, True]), "train: 2 of 3 rows have a label .*row 0"),
        (changed(hypothesis=["a", "b", "b"]), "train: 1 of 3 rows have an earlier row's .*row 2"),
        (changed("hans", label=[3]), "hans: 1 of 1 rows have a label .* from 0 to 2"),
        (changed(label=[0]), "train: columns must have one length"),
        (TextData({"hans": HANS}, {}, {}), "no split 'train'; there are: hans"),
        (DATA._replace(classes={"train": CLASSES}), "hans: labels and the names"),
        (TextData({"train": {"line": ["a"]}}, {}, {}), "no sentences among the columns line"),
    ],
)
def test_bad_rows_are_counted_in_one_line(data: TextData, expected: str) -> None:
    with pytest.raises(UserError, match=expected) as caught:
        text.check(data, "mine")
    assert "\n" not in str(caught.value)


def test_rows_may_differ_in_any_column() -> None:
    """As CoLA's do: one sentence from two sources, once acceptable."""
    text.check(changed(hypothesis=["a", "b", "b"], label=[0, 1, 0]), "mine")
    text.check(changed(hypothesis=["a", "b", "b"], source=["x", "x", "y"]), "mine")


def test_fields_are_those_of_the_task() -> None:
    assert text.fields(HANS) == ("premise", "hypothesis")
    assert text.fields({"label": [], "sentence": []}) == ("sentence",)
    assert text.fields({"sentence2": [], "sentence1": []}) == ("sentence1", "sentence2")


def test_rows_and_columns() -> None:
    assert text.columns(("a", "b"), [("x", 1), ("y", 2)]) == {"a": ["x", "y"], "b": [1, 2]}
    assert text.pick(TRAIN, [2, 0])["hypothesis"] == ["c", "a"]
    assert text.repeated({"a": [1, 1, 1], "b": [2, 3, 2]}) == [False, False, True]


def test_a_missing_split_is_named(tmp_path: Path) -> None:
    text.save(tmp_path, DATA)
    with pytest.raises(UserError, match="no split 'paws'; there are: train, hans$"):
        text.read(tmp_path, "paws")
    with pytest.raises(UserError, match="not a readable dataset"):
        text.read(tmp_path / "missing", "train")
