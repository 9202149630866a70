"""MNLI with HANS, QQP with PAWS, and CoLA: files of each published format, and the real ones."""

from __future__ import annotations

import json
import os
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value

from basins import weights
from basins.data import cola, glue, mnli, qqp, text
from basins.data.text import TextData
from basins.errors import UserError
from basins.item import get
from basins.nets import bert, checkpoint
from basins.nets.inputs import inputs
from basins.paths.evaluation import evaluate
from basins.training import mixed
from basins.training.encoders import Pretraining
from basins.training.text_models import written

TEXTS = [("a", "b", "entailment"), ("c", "d", "contradiction"), ("e", "f", "neutral")]
HANS_HEADER = (
    "gold_label sentence1_binary_parse sentence2_binary_parse sentence1_parse sentence2_parse "
    "sentence1 sentence2 pairID heuristic subcase template"
).replace(" ", "\t")
HANS_ROWS = [
    ("non-entailment", "The a saw the b .", "The b saw the a .", "lexical_overlap", "ln_s/o", "t1"),
    ("entailment", "The a and the b ran .", "The b ran .", "subsequence", "se_c", "t44"),
    ("non-entailment", "Maybe the a ran .", "The a ran .", "constituent", "cn_adverb", "t58"),
]
MNLI_HEADER = (
    "index promptID pairID genre sentence1_binary_parse sentence2_binary_parse sentence1_parse "
    "sentence2_parse sentence1 sentence2 label1 gold_label"
).replace(" ", "\t")
QQP_HEADER = "id qid1 qid2 question1 question2 is_duplicate".replace(" ", "\t")


def put(root: Path, name: str, rows: list) -> None:
    """Write rows as JSON lines or, lists of cells below a line of their names, as a table."""
    file = root / "text" / name
    file.parent.mkdir(parents=True, exist_ok=True)

    def line(row) -> str:
        if isinstance(row, str):
            return row
        return json.dumps(row) if isinstance(row, dict) else "\t".join(map(str, row))

    file.write_text("".join(f"{line(row)}\n" for row in rows))


def put_hans(root: Path) -> None:
    rows = [
        [label, *"pppp", a, b, f"ex{i}", *about]
        for i, (label, a, b, *about) in enumerate(HANS_ROWS)
    ]
    put(root, "hans/heuristics_evaluation_set.txt", [HANS_HEADER, *rows])


def put_mnli(root: Path, form: str) -> None:
    undecided = ("g", "h", "-")
    for name, rows in (("train", [*TEXTS, TEXTS[0]]), ("dev_matched", [*TEXTS, undecided])):
        if form == "official":
            rows = [
                {"gold_label": k, "sentence1": a, "sentence2": b, "annotator_labels": ["neutral"]}
                for a, b, k in rows
            ]
            put(root, f"mnli/multinli_1.0_{name}.jsonl", rows)
        elif form == "glue":
            rows = [[*range(8), a, b, "neutral", k] for a, b, k in rows]
            put(root, f"mnli/{name}.tsv", [MNLI_HEADER, *rows])
        else:
            file = "train_subset" if name == "train" else name
            rows = [{"premise": a, "hypothesis": b, "label": k} for a, b, k in rows]
            put(root, f"mnli/{file}.jsonl", rows)


def table(columns) -> set[tuple]:
    return set(zip(*columns.values(), strict=True))


@pytest.mark.parametrize("form", ["official", "glue", "subset"])
def test_mnli_labels_go_by_their_names(tmp_path: Path, form: str) -> None:
    put_mnli(tmp_path, form)
    put_hans(tmp_path)
    data = mnli.load(source="files", root=tmp_path, seed=0)
    text.check(data, "mnli")
    expected = {("a", "b", 0), ("e", "f", 1), ("c", "d", 2)}
    assert table(data.splits["train"]) == table(data.splits["test"]) == expected
    assert data.classes["train"] == ("entailment", "neutral", "contradiction")
    assert data.classes["hans"] == ("entailment", "non-entailment")
    hans = table(data.splits["hans"])
    assert {row[2:] for row in hans} == {
        (1, "lexical_overlap", "ln_s/o", "t1"),
        (0, "subsequence", "se_c", "t44"),
        (1, "constituent", "cn_adverb", "t58"),
    }
    assert table(data.splits["lexical_overlap"]) == {
        ("The a saw the b .", "The b saw the a .", 1, "lexical_overlap", "ln_s/o", "t1")
    }
    assert len(data.checksums) == 3 and all(len(md5) == 32 for md5 in data.checksums.values())


def test_official_files_come_first(tmp_path: Path) -> None:
    put_hans(tmp_path)
    put_mnli(tmp_path, "subset")
    put_mnli(tmp_path, "official")
    checksums = mnli.load(source="files", root=tmp_path, seed=0).checksums
    assert "text/mnli/multinli_1.0_train.jsonl" in checksums


def test_hans_without_subcases(tmp_path: Path) -> None:
    put_mnli(tmp_path, "subset")
    names = ["gold_label", "sentence1", "sentence2", "heuristic"]
    put(tmp_path, "hans/hans_eval.tsv", [names, *[row[:4] for row in HANS_ROWS]])
    hans = mnli.load(source="files", root=tmp_path, seed=0).splits["hans"]
    assert list(hans) == ["premise", "hypothesis", "label", "heuristic"]
    put(tmp_path, "hans/hans_eval.tsv", [names[:3], *[row[:3] for row in HANS_ROWS]])
    with pytest.raises(UserError, match="hans_eval.tsv: no column heuristic; there are: gold_lab"):
        mnli.load(source="files", root=tmp_path, seed=0)


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        (mnli.load, "mnli: missing multinli_1.0_train.jsonl or train.tsv or train_subset.jsonl"),
        (qqp.load, "paws_qqp: missing train.tsv"),
        (cola.load, "cola: missing in_domain_train.tsv"),
    ],
)
def test_missing_files_are_named(tmp_path: Path, load, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        load(source="files", root=tmp_path, seed=0)


def put_qqp(root: Path, form: str) -> None:
    for name, rows in (("train", [("a", "b", 0), ("c", "d", 1)]), ("dev", [("e", "f", 1)])):
        if form == "glue":
            put(root, f"qqp/{name}.tsv", [QQP_HEADER, *[[1, 2, 3, *row] for row in rows]])
        else:
            named = [dict(zip(("question1", "question2", "label"), r, strict=True)) for r in rows]
            put(root, f"qqp/{name}_subset.jsonl", named)
    names = ["id", "sentence1", "sentence2", "label"]
    put(root, "paws_qqp/train.tsv", [names, [1, "g h", "h g", "0\r"]])
    rows = [[1, "i j", "j i", 0], [2, "k l", "l k", 1], [2, "k l", "l k", 1]]
    put(root, "paws_qqp/dev_and_test.tsv", [names, *rows])


@pytest.mark.parametrize("form", ["glue", "subset"])
def test_qqp_and_paws_have_one_set_of_columns(tmp_path: Path, form: str) -> None:
    put_qqp(tmp_path, form)
    data = qqp.load(source="files", root=tmp_path, seed=0)
    text.check(data, "qqp")
    assert {name: table(columns) for name, columns in data.splits.items()} == {
        "train": {("a", "b", 0), ("c", "d", 1)},
        "counterexamples": {("g h", "h g", 0)},
        "test": {("e", "f", 1)},
        "paws": {("i j", "j i", 0), ("k l", "l k", 1)},
    }
    assert len(data.splits["paws"]["label"]) == 3  # a test set stays as it was published
    assert all(list(c) == ["question1", "question2", "label"] for c in data.splits.values())
    assert len(data.checksums) == 4


def test_cola_keeps_the_sources_apart(tmp_path: Path) -> None:
    train = [
        ("gj04", 1, "", "A b."),
        ("x", 0, "*", "B a."),
        ("y", 1, "", "A b."),
        ("x", 0, "*", "B a."),
    ]
    for name, rows in (
        ("in_domain_train", train),
        ("in_domain_dev", train[:1]),
        ("out_of_domain_dev", train[1:2]),
    ):
        put(tmp_path, f"cola/{name}.tsv", rows)
    data = cola.load(source="files", root=tmp_path, seed=0)
    text.check(data, "cola")
    assert table(data.splits["train"]) == {
        ("A b.", 1, "gj04", ""),
        ("B a.", 0, "x", "*"),
        ("A b.", 1, "y", ""),
    }
    assert data.splits["test"]["label"] == [1] and data.splits["ood"]["sentence"] == ["B a."]
    assert data.classes["ood"] == ("unacceptable", "acceptable")


def hub(monkeypatch, names: tuple[str, ...], classes: list[str], rows: dict[str, list]) -> list:
    """Let the hub have these rows, whose last cell is the label; return what is asked of it."""
    asked = []

    def load_dataset(path, task, *, split, revision):
        asked.append((path, task, split, revision))
        features = {name: Value("string") for name in names}
        features |= {"label": ClassLabel(names=classes), "idx": Value("int32")}
        cells = list(zip(*rows[split], strict=True))
        columns = dict(zip((*names, "label"), map(list, cells), strict=True))
        return Dataset.from_dict(columns | {"idx": list(range(len(cells[0])))}, Features(features))

    monkeypatch.setattr(glue.datasets, "load_dataset", load_dataset)
    return asked


def test_the_labels_of_the_hub_go_by_their_names_too(tmp_path: Path, monkeypatch) -> None:
    """In the order of McCoy's BERTs, which is not GLUE's; -1 is the hub's way of saying none."""
    put_hans(tmp_path)
    rows = [("a", "b", 1), ("c", "d", 0), ("e", "f", 2), ("g", "h", -1)]
    classes = ["contradiction", "entailment", "neutral"]
    given = {"train": rows, "validation_matched": rows[:1]}
    asked = hub(monkeypatch, ("premise", "hypothesis"), classes, given)
    data = mnli.load(source="hub", root=tmp_path, seed=0)
    text.check(data, "mnli")
    assert table(data.splits["train"]) == {("a", "b", 0), ("e", "f", 1), ("c", "d", 2)}
    assert table(data.splits["test"]) == {("a", "b", 0)}
    assert asked[0] == (glue.GLUE, "mnli", "train", glue.REVISION)
    assert data.checksums["nyu-mll/glue mnli"] == glue.REVISION


def test_qqp_of_the_hub(tmp_path: Path, monkeypatch) -> None:
    put_qqp(tmp_path, "subset")
    given = {"train": [("a", "b", 1), ("c", "", 0)], "validation": [("e", "f", 0)]}
    hub(monkeypatch, ("question1", "question2"), ["duplicate", "not_duplicate"], given)
    splits = qqp.load(source="hub", root=tmp_path, seed=0).splits
    assert table(splits["train"]) == {("a", "b", 0)} and table(splits["test"]) == {("e", "f", 1)}
    assert len(splits["paws"]["label"]) == 3


def test_colas_development_set_of_the_hub_is_two(tmp_path: Path, monkeypatch) -> None:
    development = [(f"s{i}", i % 2) for i in range(1043)]
    given = {"train": [("a", 0)], "validation": development}
    hub(monkeypatch, ("sentence",), ["unacceptable", "acceptable"], given)
    splits = cola.load(source="hub", root=tmp_path, seed=0).splits
    assert table(splits["test"]) == set(development[:527])
    assert table(splits["ood"]) == set(development[527:])


def real(load) -> TextData:
    root = Path(os.environ.get("BASINS_DATA", ""))
    if not os.environ.get("BASINS_DATA") or not (root / "text").is_dir():
        pytest.skip("BASINS_DATA names no folder with text/")
    data = load(source="files", root=root, seed=0)
    text.check(data, "real")
    return data


def sentences(columns: text.Columns) -> set[str]:
    return {sentence for name in text.fields(columns) for sentence in columns[name]}


def chained(pairs: int, links: int) -> text.Columns:
    """Return pairs of which runs of `links` share a sentence with the next."""
    names = [(f"a{k}", f"a{k + 1}" if (k + 1) % links else f"b{k}") for k in range(pairs)]
    return dict(zip(("premise", "hypothesis"), map(list, zip(*names, strict=True)), strict=True))


def test_halves_share_no_sentence() -> None:
    columns = chained(600, 3)
    taken, held = glue.halves("here", columns, 0.5, 0)
    assert sorted([*taken, *held]) == list(range(600)) and 200 < len(taken) < 400
    ours, theirs = (sentences(text.pick(columns, rows)) for rows in (taken, held))
    assert ours.isdisjoint(theirs)
    assert (
        (taken, held) == glue.halves("here", columns, 0.5, 0) != glue.halves("it", columns, 0.5, 0)
    )
    assert glue.halves("here", columns, 0.0, 0)[0] == glue.halves("here", columns, 1.0, 0)[1] == []


def test_counterexamples_of_hans_are_neutral_and_held_out(tmp_path: Path) -> None:
    put_mnli(tmp_path, "subset")
    pairs = [(f"The a{k} saw the b .", f"The b saw the a{k} .") for k in range(40)]
    kinds = [("non-entailment", "lexical_overlap"), ("entailment", "constituent")]
    rows = [[kinds[k % 2][0], a, b, kinds[k % 2][1]] for k, (a, b) in enumerate(pairs)]
    put(
        tmp_path,
        "hans/hans_eval.tsv",
        [["gold_label", "sentence1", "sentence2", "heuristic"], *rows],
    )
    data = mnli.load(source="files", root=tmp_path, seed=0, pool=0.5)
    text.check(data, "mnli")
    pool = data.splits["counterexamples"]
    assert set(pool["label"]) == {1} and data.classes["counterexamples"][1] == "neutral"
    assert set(pool) == {"premise", "hypothesis", "label"}
    assert sentences(pool).isdisjoint(sentences(data.splits["hans"]))
    refuting = {pair for k, pair in enumerate(pairs) if k % 2 == 0}
    assert set(zip(pool["premise"], pool["hypothesis"], strict=True)) < refuting
    assert "counterexamples" not in mnli.load(source="files", root=tmp_path, seed=0).splits


def test_pairs_that_know_a_question_of_the_diagnostic_are_no_counterexamples(
    tmp_path: Path,
) -> None:
    put_qqp(tmp_path, "subset")
    cells = ["id", "sentence1", "sentence2", "label"]
    training = [[k, f"q{k}", f"r{k}", k % 2] for k in range(40)]
    put(tmp_path, "paws_qqp/train.tsv", [cells, *training])
    put(tmp_path, "paws_qqp/dev_and_test.tsv", [cells, [0, "q0", "x", 1], [1, "y", "r1", 0]])
    splits = qqp.load(source="files", root=tmp_path, seed=0).splits
    assert len(splits["counterexamples"]["label"]) == 38 and len(splits["paws"]["label"]) == 2
    halved = qqp.load(source="files", root=tmp_path, seed=0, pool=0.5).splits
    pool, diagnostic = halved["counterexamples"], halved["paws"]
    assert len(pool["label"]) + len(diagnostic["label"]) == 40
    assert sentences(pool).isdisjoint(sentences(diagnostic)) and "x" in diagnostic["question2"]


def counts(data: TextData, split: str) -> list[int]:
    counted = Counter(data.splits[split]["label"])
    return [counted[k] for k in range(len(data.classes[split]))]


@pytest.mark.real
def test_the_real_mnli_and_hans() -> None:
    data = real(mnli.load)
    assert counts(data, "test") == [3479, 3123, 3213]  # 9,815
    assert counts(data, "hans") == [15_000, 15_000]
    assert counts(data, "lexical_overlap") == [0, 5000]
    assert sum(counts(data, "train")) >= 9999


@pytest.mark.real
def test_the_real_qqp_and_paws() -> None:
    data = real(qqp.load)
    assert counts(data, "paws") == [486, 191]
    assert counts(data, "counterexamples") == [8111, 3735]  # 142 have a question of `paws`
    assert sum(counts(data, "train")) >= 25_698


@pytest.mark.real
@pytest.mark.parametrize(("load", "diagnostic"), [(mnli.load, "hans"), (qqp.load, "paws")])
def test_real_diagnostics_are_held_out(load, diagnostic: str) -> None:
    splits = real(partial(load, pool=0.5)).splits
    ours, theirs = (sentences(splits[name]) for name in ("counterexamples", diagnostic))
    assert ours.isdisjoint(theirs)
    counted = Counter(splits[diagnostic]["label"])
    assert min(counted.values()) > 2000 and len(splits["counterexamples"]["label"]) > 2000


@pytest.mark.real
def test_the_real_cola() -> None:
    data = real(cola.load)
    assert counts(data, "train") == [2528, 6023]
    assert (sum(counts(data, "test")), counts(data, "ood")) == (527, [162, 354])


@pytest.mark.real
@pytest.mark.filterwarnings("ignore:.* rows cut to 64 tokens")
@pytest.mark.parametrize(
    "load", [partial(mnli.load, train=2000, test=500), partial(qqp.load, train=2000), cola.load]
)
def test_real_rows_go_all_the_way_to_a_loss(load, tmp_path: Path, monkeypatch) -> None:
    """Files, rows, WordPiece, an encoder with an untrained head, and losses on every set."""
    data = real(load)
    monkeypatch.chdir(tmp_path)
    text.save(tmp_path / "task", data)
    folder, cpu = tmp_path / "task", torch.device("cpu")
    encoder = get(
        Pretraining(
            data=folder,
            inputs=mixed.inputs(folder, "train"),
            method={"name": "replaced_tokens", "steps": 2, "batch_size": 8},
            device=cpu,
            net={"name": "bert", "layers": 1, "width": 16, "heads": 2, "positions": 64},
            vocabulary={"name": "wordpiece"},
            long_rows="truncate",
            seed=0,
            root=Path(os.environ["BASINS_DATA"]),
        ),
        lambda: None,
    )
    config = checkpoint.description(checkpoint.read_config(encoder))
    net = bert.classifier(
        config, weights.load(encoder / "model.safetensors"), data.classes["train"]
    )
    model = tmp_path / "model"
    checkpoint.tokenizer(encoder).save_pretrained(model)
    checkpoint.save(net, written(net.config), model)
    for split in data.splits.keys() - {"train", "counterexamples"}:
        rows = inputs(folder, split, model, cpu)
        found = evaluate(net, rows)
        assert len(found.losses) == len(data.splits[split]["label"])
        assert np.isfinite(found.losses).all() and rows.padding < 1.05
