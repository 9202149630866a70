"""Data as people have them: what is read is what is there, and what is not is one line."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import huggingface_hub
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

import basins
from basins.checkpoints import files
from basins.errors import UserError

ROWS = [{"text": 'a "b", c', "label": 1}, {"text": "d\te", "label": 0}, {"text": "é", "label": 2}]
NUMBERS = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
TARGETS = NUMBERS @ np.array([1, -2, 0.5], np.float32)


def put(name: str, rows: list[dict]) -> None:
    table = pa.Table.from_pylist(rows)
    if name.endswith(".parquet"):
        parquet.write_table(table, name)
    elif name.endswith(".jsonl"):
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif name.endswith(".json"):
        Path(name).write_text(json.dumps(rows))
    else:
        by = "\t" if name.endswith(".tsv") else ","
        quoted = [[f'"{str(v).replace(chr(34), chr(34) * 2)}"' for v in r.values()] for r in rows]
        lines = [by.join(rows[0]), *(by.join(row) for row in quoted)]
        Path(name).write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".parquet"])
def test_a_table_has_the_rows_that_are_in_it(suffix):
    put(f"test{suffix}", ROWS)
    assert files.splits(f"test{suffix}")["test"].to_list() == ROWS
    Path("folder").mkdir()
    for split in ("train", "test"):
        put(f"folder/{split}{suffix}", ROWS[:2])
    assert {name: len(one) for name, one in files.splits("folder").items()} == {
        "train": 2,
        "test": 2,
    }
    Path("folder/test.csv" if suffix != ".csv" else "folder/test.tsv").write_text("a\n1\n")
    with pytest.raises(UserError, match="two files of the split 'test'; keep one"):
        files.splits("folder")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json"])
def test_a_byte_order_mark_is_no_part_of_the_first_name(suffix):
    put(f"test{suffix}", ROWS)
    Path(f"test{suffix}").write_bytes(b"\xef\xbb\xbf" + Path(f"test{suffix}").read_bytes())
    assert files.splits(f"test{suffix}")["test"].to_list() == ROWS
    Path("a.txt").write_bytes(b"\xef\xbb\xbfone\n")
    assert files.splits("a.txt")["a"]["text"][:] == ["one"]


def test_columns_that_something_else_separates_are_one_line():
    for name, by in {"a.csv": ";", "b.csv": "\t", "c.tsv": ","}.items():
        Path(name).write_text(f"text{by}label\nthe dog{by}1\n")
        with pytest.raises(UserError, match=f"^{name}: not readable .one column, .text.*label'; "):
            files.splits(name)


def test_a_quote_that_is_not_closed_hides_no_rows():
    Path("a.tsv").write_text('text\tlabel\n"Yes\t1\nno" he said\t0\n')
    with pytest.raises(UserError, match="^a.tsv: not readable .a quote is not closed"):
        files.splits("a.tsv")


def test_the_index_of_a_frame_is_no_column():
    pd.DataFrame(ROWS, index=[5, 3, 9]).to_parquet("a.parquet")
    assert "__index_level_0__" in parquet.read_table("a.parquet").column_names
    assert files.splits("a.parquet")["a"].to_list() == ROWS


def test_lines_of_text_are_texts():
    Path("a.txt").write_text("one\n\nthree é\n")
    assert files.splits("a.txt")["a"]["text"][:] == ["one", "", "three é"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_of_numbers_are_a_row_of_inputs(suffix):
    columns = [{"x": a, "y": b, "z": c} for a, b, c in NUMBERS.tolist()]
    put(f"d{suffix}", [{**c, "target": float(t)} for c, t in zip(columns, TARGETS, strict=True)])
    net = nn.Linear(3, 1)
    found = basins.probe(net, f"d{suffix}", loss="regression").rows.set_index("metric")["value"]
    right = functional.mse_loss(net(torch.from_numpy(NUMBERS))[:, 0], torch.from_numpy(TARGETS))
    assert found["loss"] == pytest.approx(right.item(), 1e-4)


def picture(name: str, mode: str, size: int = 4) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(name)).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(name)


def images(kind: str) -> basins.Found:
    Path("net.py").write_text(
        "from torch.nn import Flatten, Linear, Sequential\n\n\n"
        "def rgb():\n    return Sequential(Flatten(), Linear(48, 2))\n\n\n"
        "def grey():\n    return Sequential(Flatten(), Linear(16, 2))\n"
    )
    width = 48 if kind == "rgb" else 16
    torch.manual_seed(0)
    state = nn.Sequential(nn.Flatten(), nn.Linear(width, 2)).state_dict()
    save_file(state, "a.safetensors")
    return basins.probe("a.safetensors", "pictures", net=f"net.py:{kind}")


def test_a_folder_of_images_is_its_classes():
    for label, names in {"cat": "ab", "dog": "c"}.items():
        for name in names:
            picture(f"pictures/{label}/{name}.png", "RGB")
    found = images("rgb").rows.set_index("metric")["value"]
    weights = torch.manual_seed(0) and nn.Linear(48, 2)
    each = [np.asarray(Image.open(f"pictures/{n}.png")) for n in ("cat/a", "cat/b", "dog/c")]
    inputs = torch.tensor(np.stack(each)).permute(0, 3, 1, 2) / 127.5 - 1
    right = functional.cross_entropy(weights(inputs.flatten(1)), torch.tensor([0, 0, 1]))
    assert found["loss"] == pytest.approx(right.item(), 1e-4)
    picture("pictures/cat/grey.png", "L")
    with pytest.warns(UserWarning, match="1 of 4 images are grey, and read as RGB"):
        assert images("rgb").rows["n"].unique() == [4]
    picture("pictures/dog/few.png", "P")  # whose numbers are no colours
    Path("pictures/owl").mkdir()
    with pytest.warns(UserWarning, match="no image of owl, which is a class"):
        assert images("rgb").rows["n"].unique() == [5]


BROKEN = {
    "sizes": (lambda: picture("pictures/cat/x.png", "RGB", 5), "images of several sizes"),
    "alpha": (lambda: picture("pictures/cat/x.png", "RGBA"), "images of the modes RGB, RGBA"),
    "torn": (lambda: Path("pictures/cat/x.png").write_bytes(b"PNG"), "image 1 is not readable"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_images_that_do_not_go_together_are_one_line(case):
    break_it, message = BROKEN[case]
    for name in ("cat/a", "dog/b"):
        picture(f"pictures/{name}.png", "RGB")
    break_it()
    with pytest.raises(UserError, match=f"^pictures, data: {message}"):
        images("rgb")


def test_grey_images_have_one_channel():
    for name in ("cat/a", "dog/b"):
        picture(f"pictures/{name}.png", "L")
    assert images("grey").rows["value"].notna().all()
    with pytest.raises(UserError, match=r"the network does not take \(2, 1, 4, 4\)"):
        images("rgb")


def test_names_of_the_hub_are_pinned_and_refused_offline(monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for name in ("hub:owner/name", "hub:owner/name@main", "hub:owner/name@abc123"):
        with pytest.raises(UserError, match="pin the revision.*40 digits of the commit"):
            files.splits(name)
    with pytest.raises(UserError, match="not to be had from the hub") as caught:
        files.splits(f"hub:owner/name@{'0' * 40}")
    assert "\n" not in str(caught.value)
