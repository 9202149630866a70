"""Files of every format, mangled: what is read of them is right, or one line says what is wrong.

There are `BASINS_CASES` of each property (tests/conftest.py).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets import CIFAR10, FashionMNIST

from basins.data import cifar10, cola, fashion_mnist, glue, image_folder, mnli, qqp, text, wordpiece
from basins.data import images as datasets
from basins.errors import UserError
from basins.statistics import published
from tests.junk.mangle import damages, line, mangled

MD5 = "0" * 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("junk")


def table(header: str, *rows: str) -> bytes:
    return "".join(f"{row}\n" for row in (header, *rows) if row).replace("|", "\t").encode()


def records(*rows: dict[str, Any]) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


MNLI = (mnli.COLUMNS, {**mnli.LABELS, **mnli.UNDECIDED})
HANS_NAMES = mnli.COLUMNS | {name: (name,) for name in ("heuristic", *mnli.OPTIONAL)}
# File, what `glue.read` is told about it, and a right content.
TEXTS: dict[str, tuple[str, tuple, dict[str, Any], bytes]] = {
    "mnli table": (
        "a.tsv",
        MNLI,
        {},
        table(
            "index|sentence1|sentence2|label1|gold_label",
            '0|A "dog" barks .|An animal .|neutral|entailment',
            "1|A cat ?|No cat|neutral|-",
            "2|Ein Café|\u2028x|neutral|contradiction",
            "3||x|neutral|neutral",
        ),
    ),
    "mnli lines": (
        "a.jsonl",
        MNLI,
        {},
        records(
            {"sentence1": "A dog", "sentence2": 'a "b"', "gold_label": "entailment", "x": [1]},
            {"sentence1": "A cat", "sentence2": "none", "gold_label": "-", "x": []},
            {"sentence1": "é", "sentence2": "\x85", "gold_label": "neutral", "x": None},
        ),
    ),
    "hans": (
        "a.txt",
        (HANS_NAMES, mnli.HANS_LABELS),
        {"optional": mnli.OPTIONAL},
        table(
            "gold_label|sentence1|sentence2|heuristic|subcase",
            "entailment|The a .|a .|subsequence|se_c",
            "non-entailment|The b .|b .|lexical_overlap|ln_s/o",
        ),
    ),
    "qqp": (
        "a.tsv",
        (qqp.COLUMNS, qqp.LABELS),
        {},
        table("id|question1|question2|is_duplicate", "0|Why ?|Why so ?|1", "1|How ?|Who ?|0"),
    ),
    "paws lines": (
        "a.jsonl",
        (qqp.COLUMNS, qqp.LABELS),
        {},
        records(
            {"sentence1": "Why ?", "sentence2": "Why so ?", "label": 1},
            {"sentence1": "How ?", "sentence2": "Who ?", "label": 0},
        ),
    ),
    "cola": (
        "a.tsv",
        (cola.COLUMNS, cola.LABELS),
        {"header": cola.HEADER},
        table("", "gj04|1||They left .", "gj04|0|*|Them left .", 'r-67|1|?|"We" left .'),
    ),
}


def understood(
    file: str,
    content: bytes,
    names: dict[str, tuple[str, ...]],
    labels: dict[str, int | None],
    optional: tuple[str, ...] = (),
    header: tuple[str, ...] | None = None,
) -> dict[str, list] | None:
    """Return the columns of a file, None where it is refused: the rules, written once more."""
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        return None
    lines = lines[: len(lines) - (lines[-1] == "")]
    rows: list[dict[str, Any]] = []
    if file.endswith(".jsonl"):
        for found in lines:
            try:
                rows.append(json.loads(found))
            except (ValueError, RecursionError):
                return None
            if not isinstance(rows[-1], dict):
                return None
    else:
        cells = [found.rstrip("\r").split("\t") for found in lines]
        if header is None and not cells:
            return None
        keys, body = (list(header), cells) if header else (cells[0], cells[1:])
        whole = [row for row in body if len(row) == len(keys)]
        if len(body) - len(whole) > len(body) / 1000:
            return None
        rows = [dict(zip(keys, row, strict=True)) for row in whole]
        if any(keys.count(k) > 1 for theirs in names.values() for k in theirs):
            return None
    if not rows:
        return None
    chosen = {n: next((k for k in theirs if k in rows[0]), None) for n, theirs in names.items()}
    if any(k is None and n not in optional for n, k in chosen.items()):
        return None
    columns: dict[str, list] = {n: [] for n, k in chosen.items() if k is not None}
    sentences = next(f for f in text.FIELDS if set(f) <= set(columns))
    for row in rows:
        values: dict[str, Any] = {}
        for name in columns:
            value = row.get(chosen[name])  # type: ignore[arg-type]
            number = name == "label" and type(value) is int
            if not (isinstance(value, str) or number):
                return None
            if any("\ud800" <= c <= "\udfff" for c in str(value)):
                return None
            values[name] = str(value).strip()
        if values["label"] not in labels:
            return None
        values["label"] = labels[values["label"]]
        if values["label"] is not None and all(values[s] for s in sentences):
            for name, value in values.items():
                columns[name].append(value)
    return columns


@pytest.mark.parametrize("kind", TEXTS)
@given(st.data())
def test_text_is_read_as_it_is_written(kind: str, folder: Path, data: st.DataObject) -> None:
    name, (names, labels), options, content = TEXTS[kind]
    content = data.draw(mangled(content))
    (folder / name).write_bytes(content)
    expected = understood(name, content, names, labels, **options)
    try:
        found = glue.read(folder / name, names, labels, **options)
    except UserError as error:
        assert name in line(error)
        assert expected is None, error
    else:
        assert found == expected


def published_mnli() -> dict[str, bytes]:
    rows = [(f"a {i}", f"b {i}", mnli.CLASSES[i % 3]) for i in range(6)]
    lines = [{"premise": a, "hypothesis": b, "label": k} for a, b, k in rows]
    return {
        "text/mnli/train_subset.jsonl": records(*lines),
        "text/mnli/dev_matched.jsonl": records(*lines[:3]),
        "text/hans/hans_eval.tsv": TEXTS["hans"][3],
    }


@given(damages(published_mnli()))
def test_a_published_dataset_is_saved_as_it_was_read(folder: Path, files: dict[str, bytes]) -> None:
    put(folder, files)
    try:
        read = mnli.load(source="files", root=folder, seed=0)
        text.check(read, "mnli")
    except UserError as error:
        line(error)
        return
    text.save(folder / "saved", read)
    for split, columns in read.splits.items():
        assert text.read(folder / "saved", split) == columns


def put(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def batch(first: int) -> dict[str, Any]:
    pixels = np.arange(first, first + 2, dtype=np.uint8)[:, None].repeat(3072, 1)
    return {"data": pixels, "labels": [first % 3, (first + 1) % 3]}


CIFAR = {
    "cifar-10-batches-py/data_batch_1": pickle.dumps(batch(0)),
    "cifar-10-batches-py/test_batch": pickle.dumps(batch(7)),
    "cifar-10-batches-py/batches.meta": pickle.dumps({"label_names": list("abc")}),
}


def trust_cifar(patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    """Make these files the official ones."""
    md5 = {Path(name).name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    patch.setattr(CIFAR10, "train_list", [["data_batch_1", md5["data_batch_1"]]])
    patch.setattr(CIFAR10, "test_list", [["test_batch", md5["test_batch"]]])
    patch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5["batches.meta"]})


@given(damages(CIFAR))
@example(CIFAR)
def test_pickled_images_are_plain_or_refused(folder: Path, files: dict[str, bytes]) -> None:
    put(folder, files)
    with pytest.MonkeyPatch.context() as patch:
        trust_cifar(patch, files)
        try:
            found = cifar10.load(source="files", root=folder, seed=0)
        except UserError as error:
            assert "not as published" in line(error)
            assert files != CIFAR
            return
    datasets.check(found, "cifar10")
    for split, name in ((found.train, "data_batch_1"), (found.test, "test_batch")):
        held = files[f"cifar-10-batches-py/{name}"]
        for image in split.images:  # all pixels are in the file, as they are
            assert image.transpose(2, 0, 1).tobytes().decode("latin-1").encode() in held or (
                image.transpose(2, 0, 1).tobytes() in held
            )


@given(damages(CIFAR))
def test_nothing_is_unpickled_that_is_not_official(folder: Path, files: dict[str, bytes]) -> None:
    if files == CIFAR:
        return
    put(folder, files)
    with pytest.MonkeyPatch.context() as patch:
        trust_cifar(patch, CIFAR)
        with pytest.raises(UserError, match=": damaged ") as caught:
            cifar10.load(source="files", root=folder, seed=0)
    line(caught.value)


def idx(content: np.ndarray) -> bytes:
    return struct.pack(f">HBB{content.ndim}I", 0, 8, content.ndim, *content.shape) + bytes(content)


GREY = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4)
FASHION = {
    "train-images-idx3-ubyte.gz": idx(GREY),
    "train-labels-idx1-ubyte.gz": idx(np.array([0, 9, 4], np.uint8)),
    "t10k-images-idx3-ubyte.gz": idx(GREY[:2]),
    "t10k-labels-idx1-ubyte.gz": idx(np.array([1, 2], np.uint8)),
}


@given(damages(FASHION), st.booleans())
def test_idx_files_are_read_whole_or_refused(folder: Path, raw: dict[str, bytes], zipped: bool):
    packed = {name: gzip.compress(content) for name, content in FASHION.items()}
    for name, content in raw.items():
        if content != FASHION[name]:
            packed[name] = gzip.compress(content) if zipped else content
    put(folder / "FashionMNIST" / "raw", packed)
    md5 = [(name, hashlib.md5(content).hexdigest()) for name, content in packed.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FashionMNIST, "resources", md5)
        try:
            found = fashion_mnist.load(source="files", root=folder, seed=0)
        except UserError as error:
            assert "not as published" in line(error)
            return
    datasets.check(found, "fashion_mnist")
    for split, name in ((found.train, "train"), (found.test, "t10k")):
        header, *_ = struct.unpack_from(">I", raw[f"{name}-labels-idx1-ubyte.gz"], 4)
        labels = raw[f"{name}-labels-idx1-ubyte.gz"][8:]
        assert split.labels.tolist() == list(labels) and len(split.images) == header
        height, width = struct.unpack_from(">II", raw[f"{name}-images-idx3-ubyte.gz"], 8)
        assert len(raw[f"{name}-images-idx3-ubyte.gz"]) == 16 + header * height * width


def picture(form: str) -> bytes:
    written = io.BytesIO()
    Image.fromarray(GREY[0].repeat(8, 0).repeat(8, 1)).save(written, form)
    return written.getvalue()


IMAGES = {f"{split}/{c}/1.{form}": picture(form) for split in ("train", "test") for c in "xy"
          for form in ("png", "jpeg", "bmp", "tiff", "webp")}  # fmt: skip


@given(damages(IMAGES))
def test_pictures_are_decoded_or_refused(folder: Path, files: dict[str, bytes]) -> None:
    put(folder / "own", files)
    try:
        found = image_folder.load(source="files", root=folder, seed=0, folder="own", size=8)
    except UserError as error:
        said = (": not a readable image", ": has transparency", ": pixels of mode")
        assert any(each in line(error) for each in said)
        return
    datasets.check(found, "own")
    assert len(found.train.images) == 10


PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "##s", "é", "bark", ".")
VOCABULARY = "".join(f"{piece}\n" for piece in PIECES).encode()


@settings(
    max_examples=settings.get_profile("basins").max_examples // 4
)  # a tokenizer takes its time
@given(mangled(VOCABULARY))
def test_a_vocabulary_keeps_pieces_of_the_file_in_its_order(folder: Path, content: bytes) -> None:
    (folder / "vocab.txt").write_bytes(content)
    try:
        found = wordpiece.tokenizer(["a dog barks .", "é"], folder, file="vocab.txt")
    except UserError as error:
        assert "vocab.txt" in line(error)
        return
    places = found.get_vocab()
    pieces = [piece for piece in sorted(places, key=places.__getitem__)][5:]
    known = [piece.removesuffix("\r") for piece in content.decode().split("\n")]
    order = [known.index(piece) for piece in pieces]
    assert order == sorted(order) and pieces


RUNS = "\ufeffRun,MNLI dev acc.,Lexical (nonent),Overall accuracy,ln_passive\n" + "".join(
    f"Run {k},0.8{k},0.3{k},0.5{k},{k % 2}\n" for k in range(6)
)
SUMMARY = "Minimum,0.80,0.30,0.50,0\n,,,,\n"


@given(mangled((RUNS + SUMMARY).encode()))
def test_published_accuracies_are_those_of_the_table(folder: Path, content: bytes) -> None:
    (folder / "runs.csv").write_bytes(content)
    try:
        found = published.read(folder / "runs.csv")
    except UserError as error:
        assert "runs.csv" in line(error)
        return
    lines = content.decode("utf-8-sig").replace('"', "").replace("\r", "\n").split("\n")
    cells = [row.split(",") for row in lines]
    header = next(row for row in cells if "Run" in row)
    there = {row[header.index("Run")]: row for row in cells if len(row) >= len(header)}
    for run, values in found.iterrows():
        for name, value in values.items():
            assert float(there[f"Run {run}"][header.index(str(name))]) == value
