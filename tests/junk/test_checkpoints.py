"""Checkpoints, mangled: the loaded network has the file's numbers, or one line says why not.

There are `BASINS_CASES` of each property (tests/conftest.py).
"""

from __future__ import annotations

import io
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save as serialise
from torch import Tensor

from basins.checkpoints import models, states
from basins.data import vocabulary
from basins.errors import UserError
from basins.nets import bert, checkpoint, mlp
from basins.weights import flatten
from tests.junk.mangle import line, mangled

CONFIG = {
    "net": {"name": "mlp", "depth": 1, "width": 3},
    "image_shape": [2, 2, 3],
    "num_classes": 2,
}
CPU = torch.device("cpu")
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1"}

Numbers = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("junk")


def state() -> dict[str, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return mlp.build((2, 2, 3), 2, depth=1, width=3).state_dict()


@st.composite
def changed(draw: st.DrawFn) -> dict[str, Tensor]:
    """Return weights of which one is of another name, shape or type, or is not a number."""
    found = state()
    name = draw(st.sampled_from(sorted(found)))
    tensor = found.pop(name)
    kind = draw(st.sampled_from(["gone", "named", "more", "shape", "type", "value", "empty"]))
    if kind == "named":
        found[draw(st.text(max_size=9) | st.just(f"{name}x"))] = tensor
    elif kind == "more":
        found |= {name: tensor, draw(st.text(max_size=9)): torch.zeros(2)}
    elif kind == "shape":
        shape = draw(st.lists(st.integers(0, 4), max_size=3))
        found[name] = torch.ones(shape)
    elif kind == "type":
        types = [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.bool]
        types += [torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2, torch.uint8]
        found[name] = (9 * tensor).to(draw(st.sampled_from(types)))
    elif kind == "value":
        values = [np.nan, np.inf, -np.inf, 1e39, 1e300, 3e38, -0.0]
        wide = tensor.to(torch.float64)
        wide.view(-1)[draw(st.integers(0, tensor.numel() - 1))] = draw(st.sampled_from(values))
        found[name] = wide
    elif kind == "empty":
        found = {}
    return found


@st.composite
def lying(draw: st.DrawFn) -> bytes:
    """Return a file whose header says what is not there, or what no file can hold."""
    content = serialise(state())
    size = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    name = draw(st.sampled_from(sorted(set(header) - {"__metadata__"})))
    numbers = st.integers(-1, 60) | st.sampled_from([2**31, 2**63, 2**64, 1e3, None, "4"])
    key = draw(st.sampled_from(["dtype", "shape", "data_offsets", "size", "header", "metadata"]))
    if key == "dtype":
        types = [*TYPES, "BF16", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "C64", "X", 4, None, "BOOL"]
        header[name]["dtype"] = draw(st.sampled_from(types))
    elif key in ("shape", "data_offsets"):
        header[name][key] = draw(st.lists(numbers, max_size=3))
    elif key == "metadata":
        header["__metadata__"] = draw(st.sampled_from([{"a": "b"}, {"a": 1}, [], None, "x"]))
    elif key == "header":
        header = draw(st.sampled_from([[], {}, None, 3, "x", {name: None}, {name: {}}]))
    written = json.dumps(header).encode()
    length = (
        len(written) if key != "size" else draw(st.sampled_from([0, 1, 2**31, 2**63, 2**64 - 1]))
    )
    return struct.pack("<Q", length) + written + data


def held(content: bytes) -> Numbers:
    """Return the numbers of a file, read by hand."""
    size = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    found = {}
    for name, told in header.items():
        if name != "__metadata__":
            raw = data[slice(*told["data_offsets"])]
            if told["dtype"] == "BF16":
                wide = np.frombuffer(raw, "<u2").astype("<u4") << 16
                found[name] = wide.view("<f4").reshape(told["shape"])
            elif told["dtype"] in TYPES:
                found[name] = np.frombuffer(raw, TYPES[told["dtype"]]).reshape(told["shape"])
    return found


def ours(folder: Path) -> dict[str, Tensor]:
    """Load as the pipeline does."""
    net = checkpoint.load(folder)
    assert len(flatten(net.state_dict())) == sum(t.numel() for t in state().values())
    return net.state_dict()


def strangers(folder: Path) -> dict[str, Tensor]:
    """Load as the command line does."""
    return models.read({"one/seed0": folder}, None, CPU).states["one/seed0"]


FILES = mangled(serialise(state())) | changed().map(serialise) | lying()


@pytest.mark.parametrize("load", [ours, strangers])
@given(content=FILES)
def test_weights_are_those_of_the_file(load: Callable, folder: Path, content: bytes) -> None:
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model.safetensors").write_bytes(content)
    try:
        found = load(folder)
    except UserError as error:
        assert str(folder) in line(error)
        return
    right = state()
    numbers = held(content)
    assert found.keys() == right.keys()
    for name, tensor in found.items():
        assert tensor.shape == right[name].shape and tensor.dtype == right[name].dtype
        assert tensor.isfinite().all()
        if name in numbers:
            np.testing.assert_array_equal(tensor.numpy(), numbers[name].astype(np.float32))


def pickled(found: Any) -> bytes:
    written = io.BytesIO()
    torch.save(found, written)
    return written.getvalue()


ODD = [[], {}, None, 3, {"state_dict": 3}, {1: torch.ones(2)}, {"state_dict": state()}, "x"]
ODD += [{"1.weight": torch.ones(2).to_sparse()}, torch.ones(2), {"head.weight": torch.nn.Module}]


@given(
    content=mangled(pickled(state())) | changed().map(pickled) | st.sampled_from(ODD).map(pickled)
)
def test_pickled_weights_are_plain_tensors_or_refused(folder: Path, content: bytes) -> None:
    (folder / "one.pt").write_bytes(content)
    right = state()
    try:
        net = mlp.build((2, 2, 3), 2, depth=1, width=3)
        found = states.fitting(states.read([folder / "one.pt"]), net, folder / "one.pt")
    except UserError as error:
        assert "one.pt" in line(error)
        return
    for name, tensor in found.items():
        assert (tensor.shape, tensor.dtype) == (right[name].shape, torch.float32)
        assert tensor.isfinite().all()


LEAVES = st.none() | st.booleans() | st.integers(-2, 9) | st.floats(allow_subnormal=False)
LEAVES |= st.sampled_from(["mlp", "resnet", "vgg", "bert", "../x", "", "gelu", 2**70, [1], {}])


@st.composite
def described(draw: st.DrawFn, config: dict[str, Any]) -> dict[str, Any]:
    """Return a config of which one or two values are something else, or gone."""
    found = json.loads(json.dumps(config))
    for _ in range(draw(st.integers(1, 2))):
        where = found
        if isinstance(found.get("net"), dict) and draw(st.booleans()):
            where = found["net"]
        key = draw(
            st.sampled_from([*sorted(where), "auto_map", "extra"]) if where else st.just("x")
        )
        if draw(st.integers(0, 3)):
            where[key] = draw(LEAVES)
        else:
            where.pop(key, None)
    return found


@pytest.mark.parametrize("load", [ours, strangers])
@given(config=described(CONFIG))
def test_a_config_that_loads_describes_the_weights(load, folder: Path, config: dict[str, Any]):
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(serialise(state()))
    try:
        found = load(folder)
    except UserError as error:
        assert str(folder) in line(error)
        return
    for name, tensor in state().items():
        assert torch.equal(found[name], tensor)


@given(content=mangled(json.dumps(CONFIG).encode()))
def test_a_torn_config_is_refused(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    try:
        config = checkpoint.read_config(folder)
    except UserError as error:
        assert str(folder) in line(error)
        return
    assert config == json.loads(content)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small text classifier, as Hugging Face writes it."""
    folder = tmp_path_factory.mktemp("text")
    bert.build_text(9, 3, layers=1, width=8, heads=2).save_pretrained(folder / "right")
    vocabulary.build(["a", "dog"]).save_pretrained(folder / "right")
    return folder


@given(st.data())
def test_a_text_model_is_read_as_it_was_written_or_refused(text: Path, data: st.DataObject) -> None:
    shutil.copytree(text / "right", text / "one", dirs_exist_ok=True)
    kept = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
    name = data.draw(st.sampled_from(kept))
    content = (text / "right" / name).read_bytes()
    if name == "config.json" and data.draw(st.booleans()):
        content = json.dumps(data.draw(described(json.loads(content)))).encode()
    else:
        content = data.draw(mangled(content))
    (text / "one" / name).write_bytes(content)
    try:
        net, tokenizer = checkpoint.load(text / "one"), checkpoint.tokenizer(text / "one")
    except UserError as error:
        assert str(text) in line(error)
        return
    right = checkpoint.load(text / "right").state_dict()
    numbers = held((text / "one" / "model.safetensors").read_bytes())
    for key, tensor in net.state_dict().items():
        assert tensor.shape == right[key].shape
        np.testing.assert_array_equal(tensor.numpy(), numbers[key].astype(tensor.numpy().dtype))
    assert max(tokenizer.get_vocab().values()) < 9
