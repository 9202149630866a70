"""Published text: each format, and every file that is not what it should be, in one line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from basins.data import glue
from basins.errors import UserError

NAMES = {"sentence": ("sentence", "text"), "label": ("gold", "label")}
LABELS = {"yes": 1, "no": 0, "-": None}


def written(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", 'id\tgold\ttext\r\n1\tyes\t "quoted\u2028here \r\n2\t-\tb\n3\tno\tc\n4\tno\t \n'),
        ("a.txt", '\ufeffgold\ttext\nyes\t"quoted\u2028here\nno\tc'),
        ("a.jsonl", '{"text": "\\"quoted\u2028here", "label": "yes"}\n{"text":"c","label":"no"}\n'),
    ],
)
def test_each_format_is_read(tmp_path: Path, name: str, content: str) -> None:
    found = glue.read(written(tmp_path, name, content), NAMES, LABELS)
    assert found == {"sentence": ['"quoted\u2028here', "c"], "label": [1, 0]}


def test_a_table_without_names_takes_those_given(tmp_path: Path) -> None:
    file = written(tmp_path, "a.tsv", "yes\ta\nno\tb\n")
    found = glue.read(file, NAMES, LABELS, header=("label", "sentence"))
    assert found == {"sentence": ["a", "b"], "label": [1, 0]}


def test_optional_columns_are_read_where_they_are(tmp_path: Path) -> None:
    names = NAMES | {"kind": ("kind",)}
    with_kind = written(tmp_path, "a.tsv", "label\ttext\tkind\nyes\ta\tx\n")
    assert glue.read(with_kind, names, LABELS, optional=("kind",))["kind"] == ["x"]
    without = written(tmp_path, "b.tsv", "label\ttext\nyes\ta\n")
    assert "kind" not in glue.read(without, names, LABELS, optional=("kind",))
    with pytest.raises(UserError, match="b.tsv: no column kind; there are: label, text"):
        glue.read(without, names, LABELS)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.tsv", "", "no rows of text"),
        ("a.tsv", "gold\ttext\n", "no rows of text"),
        ("a.tsv", b"gold\ttext\nyes\t\xff\xfe\n", "no rows of text in UTF-8"),
        ("a.tsv", "label\tline\nyes\ta\n", "no column sentence or text; there are: label, line"),
        ("a.tsv", "gold\ttext\nyes\ta\nmaybe\tb\n", "line 3: label 'maybe' is not one of yes, no"),
        ("a.tsv", "gold\ttext\nyes\ta\nno\n", "1 of 2 lines do not have 2 columns .*line 3"),
        ("a.jsonl", '{"text": "a", "label": "yes"}\n{"te\n', "line 2: not a JSON object"),
        ("a.jsonl", "[1]\n", "line 1: not a JSON object"),
        ("a.jsonl", '{"text": "a", "label": 1}\n', "line 1: label '1' is not one of"),
        ("a.jsonl", '{"text": "a", "label": "no"}\n{"label": "no"}\n', "line 2: no 'text'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, name, content, expected) -> None:
    file = written(tmp_path, name, content)
    with pytest.raises(UserError, match=expected) as caught:
        glue.read(file, NAMES, LABELS)
    assert str(caught.value).startswith(str(file)) and "\n" not in str(caught.value)


def test_few_broken_lines_are_left_out(tmp_path: Path) -> None:
    """As GLUE's own table of QQP has them."""
    content = "gold\ttext\n" + "yes\ta\n" * 1998 + "\nno\tb\tc\n"
    found = glue.read(written(tmp_path, "a.tsv", content), NAMES, LABELS)
    assert len(found["label"]) == 1998


def test_the_first_name_there_is_counts(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    with pytest.raises(UserError, match=r"text: missing a.tsv or b.tsv. Put it there, below"):
        glue.locate(tmp_path, "text", ("a.tsv", "b.tsv"))
    second = written(tmp_path / "text", "b.tsv", "b")
    assert glue.locate(tmp_path, "text", ("a.tsv", "b.tsv")) == second
    first = written(tmp_path / "text", "a.tsv", "a")
    assert glue.locate(tmp_path, "text", ("a.tsv", "b.tsv")) == first
    md5 = {"text/a.tsv": hashlib.md5(b"a").hexdigest()}
    assert glue.checksums(tmp_path, [first]) == md5


def test_samples_are_shuffled_once_and_nested() -> None:
    columns = {"sentence": [f"s{i}" for i in range(100)], "label": list(range(100))}
    whole, part = (glue.sample("mine", columns, size, 0) for size in (None, 30))
    assert sorted(whole["label"]) == columns["label"] != whole["label"]
    assert whole["sentence"] == [f"s{i}" for i in whole["label"]]
    assert part["label"] == whole["label"][:30]
    assert glue.sample("mine", columns, None, 1) != whole != glue.sample("other", columns, None, 0)
    with pytest.raises(UserError, match="mine: 101 rows are asked for, and there are 100"):
        glue.sample("mine", columns, 101, 0)


def test_repeated_rows_are_told_by_all_columns() -> None:
    columns = {"sentence": ["a", "a", "a"], "label": [0, 1, 0]}
    assert glue.distinct(columns) == {"sentence": ["a", "a"], "label": [0, 1]}


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch) -> None:
    def unreachable(*arguments, **options):
        raise ConnectionError("no\nnetwork")

    monkeypatch.setattr(glue.datasets, "load_dataset", unreachable)
    with pytest.raises(UserError, match=r"glue qqp: could not be downloaded \(no network\)"):
        glue.hub("qqp", "train", ("question1",), {})
