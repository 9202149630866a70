"""Strangers' data, mangled: tables and images are read, or one line says why not.

There are `BASINS_CASES` of each property (tests/conftest.py).
"""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet

from basins.checkpoints import adapters, files, labels, pictures
from basins.errors import UserError
from tests.junk.mangle import line, mangled

ROWS = [{"text": f"a {k}", "label": k % 3} for k in range(6)]
LINES = [",".join(["text", "label"]), *(f"{row['text']},{row['label']}" for row in ROWS)]


def packed() -> bytes:
    written = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(ROWS), written)
    return written.getvalue()


TABLES = {
    ".csv": "\n".join(LINES).encode(),
    ".tsv": "\n".join(LINES).replace(",", "\t").encode(),
    ".jsonl": "\n".join(map(json.dumps, ROWS)).encode(),
    ".json": json.dumps(ROWS).encode(),
    ".parquet": packed(),
    ".txt": b"one\ntwo\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("junk")


@pytest.mark.parametrize("suffix", TABLES)
@given(st.data())
def test_a_mangled_table_is_read_or_refused(suffix: str, folder: Path, data: st.DataObject) -> None:
    file = folder / f"test{suffix}"
    file.write_bytes(data.draw(mangled(TABLES[suffix])))
    try:
        split = files.splits(file)["test"]
        found = labels.read(split, "test")
    except UserError as error:
        assert "test" in line(error)
        return
    assert found is None or len(found.numbers) == len(split)


def png() -> bytes:
    written = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(written, "PNG")
    return written.getvalue()


@given(content=mangled(png()))
def test_a_mangled_image_is_read_or_refused(folder: Path, content: bytes) -> None:
    for name in ("x/1.png", "y/2.png"):
        (folder / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "pictures" / name).write_bytes(content if name == "x/1.png" else png())
    models = cast(Any, SimpleNamespace(sized=lambda: None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            split = files.splits(folder / "pictures")["data"]
            found = pictures.images("pictures", "data", split, "pictures, data", models)
        except UserError as error:
            assert "pictures" in line(error)
            return
    assert found.dtype == np.uint8 and found.shape[0] == 2


CONFIG = {"peft_type": "LORA", "base_model_name_or_path": ".", "r": 2, "lora_alpha": 4}


@given(content=mangled(json.dumps(CONFIG).encode()))
def test_a_mangled_adapter_is_read_or_refused(folder: Path, content: bytes) -> None:
    (folder / adapters.CONFIG).write_bytes(content)
    try:
        found = adapters.of(folder)
    except UserError as error:
        assert str(folder) in line(error)
        return
    assert found is not None and found.config["peft_type"] == "LORA"
